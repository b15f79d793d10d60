-- Writes counts and scores of some users, all of them or none.
--
-- KEYS  weights:in_force, writer:fence, then per user: profile, counts
-- ARGV  writer, its epoch, weights version, weights document, then per user: newest event time (ms), number of rows, and
--       a row each: tag, counts, score
-- Gives {"done"}, {"fenced"} when a newer writer has taken this one's place, or {"stale", version, document} when newer
-- weights are in force.
local fence = redis.call('HGET', KEYS[2], ARGV[1])
if not fence then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
elseif fence ~= ARGV[2] then
  return {'fenced'}
end
local version, in_force = tonumber(ARGV[3]), tonumber(redis.call('HGET', KEYS[1], 'version') or -1)
if in_force > version then
  return {'stale', tostring(in_force), redis.call('HGET', KEYS[1], 'document')}
elseif in_force < version then
  redis.call('HSET', KEYS[1], 'version', ARGV[3], 'document', ARGV[4])
end

local at = 5
for k = 3, #KEYS, 2 do
  local profile, counts = KEYS[k], KEYS[k + 1]
  local as_of, rows = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  local newest = redis.call('HGET', counts, '')
  if newest and tonumber(newest) > tonumber(as_of) then as_of = newest end
  if rows == 1 then
    redis.call('HSET', counts, '', as_of, ARGV[at], ARGV[at + 1])
    redis.call('HSET', profile, ARGV[at], ARGV[at + 2])
    at = at + 3
  else
    local of_counts, of_profile = {'', as_of}, {}
    for i = 1, rows do
      of_counts[2 * i + 1], of_counts[2 * i + 2] = ARGV[at], ARGV[at + 1]
      of_profile[2 * i - 1], of_profile[2 * i] = ARGV[at], ARGV[at + 2]
      at = at + 3
    end
    redis.call('HSET', counts, unpack(of_counts))
    redis.call('HSET', profile, unpack(of_profile))
  end
end
return {'done'}
