-- Puts what a rebuild has counted for the users (or everybody) of one slot in the place of what is live: all keys of the
-- slot at once. Ratings, interests, lists, catalogue and models are not counted, and stay.
--
-- KEYS  what binds writes to the slot, the same of the namespace
-- ARGV  the namespace, what all its keys begin with
-- Gives how many keys are live now that were not; -1 where it was done before; -2 where the slot is not barred.
if redis.call('HGET', KEYS[2], 'rebuild') ~= ARGV[1] then return -1 end
if redis.call('HGET', KEYS[1], 'exchange') ~= ARGV[1] then return -2 end

local counted = {counts = true, items = true, purchased = true, recent = true, arrivals = true}
local function is_counted(key)
  if string.sub(key, 1, 13) == 'user:profile:' or string.sub(key, 1, 8) == '{stats}:' then return true end
  local what = string.match(key, '^{user:profile:[^{}]+}:(%l+)$') or string.match(key, '^{%d+}:(%l+):user:profile:')
  return what and counted[what]
end

-- Batches of the rebuild may have been of newer weights than those that this slot knows.
local known = redis.call('HMGET', KEYS[2], 'version', 'document')
if known[1] and tonumber(known[1]) > tonumber(redis.call('HGET', KEYS[1], 'version') or -1) then
  redis.call('HSET', KEYS[1], 'version', known[1], 'document', known[2])
end
redis.call('UNLINK', KEYS[2])

local slot = redis.call('CLUSTER', 'KEYSLOT', KEYS[1])
local keys = redis.call('CLUSTER', 'GETKEYSINSLOT', slot, redis.call('CLUSTER', 'COUNTKEYSINSLOT', slot))
for _, key in ipairs(keys) do
  if is_counted(key) then redis.call('UNLINK', key) end
end
local exchanged = 0
for _, key in ipairs(keys) do
  if string.sub(key, 1, #ARGV[2]) == ARGV[2] and key ~= KEYS[2] then
    redis.call('RENAME', key, string.match(key, '^{%d+}:(.*)$', #ARGV[2] + 1))
    exchanged = exchanged + 1
  end
end
return exchanged
