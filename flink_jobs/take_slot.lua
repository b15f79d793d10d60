-- Takes a writer's place in one slot of a cluster, as take_place.lua does it on one server.
--
-- KEYS  what binds writes to the slot
-- ARGV  name of the writing function, its number of subtasks, this subtask's number, the epochs that the one who takes the
--       place again has or has tried to get, as ',1,2,', or '' for a new one, and the new epoch
-- Gives the new epoch, '' when somebody newer has the place that was to be taken again, or 'barred' until what was rebuilt
-- has taken the place of all live keys.
if redis.call('HGET', KEYS[1], 'exchange') then return 'barred' end
local ours = ARGV[1] .. '/' .. ARGV[2] .. '/'
local fence = redis.call('HGET', KEYS[1], ours .. ARGV[3])
if ARGV[4] ~= '' and fence and not string.find(ARGV[4], ',' .. fence .. ',', 1, true) then return '' end
for _, writer in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(writer, 1, #ARGV[1] + 1) == ARGV[1] .. '/' and string.sub(writer, 1, #ours) ~= ours then
    redis.call('HSET', KEYS[1], writer, ARGV[5])
  end
end
redis.call('HSET', KEYS[1], ours .. ARGV[3], ARGV[5])
return ARGV[5]
