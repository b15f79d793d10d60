-- Removes what one slot has of a namespace, or of all that were made for one rebuild each.
--
-- KEYS  what binds writes to the slot
-- ARGV  a Lua pattern for the beginning of the keys
-- Gives how many there were.
local slot = redis.call('CLUSTER', 'KEYSLOT', KEYS[1])
local keys = redis.call('CLUSTER', 'GETKEYSINSLOT', slot, redis.call('CLUSTER', 'COUNTKEYSINSLOT', slot))
local removed = 0
for _, key in ipairs(keys) do
  if string.find(key, ARGV[1]) then removed = removed + redis.call('UNLINK', key) end
end
return removed
