-- Takes a writer's place: gives it an epoch above every earlier one, and from now on refuses whoever had the place.
--
-- KEYS  writer:epoch, writer:fence
-- ARGV  name of the writing function, its number of subtasks, this subtask's number, a floor for the epoch, and the epoch
--       of the one who takes it again, or '' for a new one
-- Gives the epoch, or '' when somebody newer has the place that was to be taken again.
-- A writer is named function/subtasks/subtask. When the number of subtasks has changed, so has who writes what, and all
-- writers of the other numbers are refused too.
local ours = ARGV[1] .. '/' .. ARGV[2] .. '/'
local fence = redis.call('HGET', KEYS[2], ours .. ARGV[3])
if ARGV[5] ~= '' and fence and fence ~= ARGV[5] then return '' end
local epoch = string.format('%d', math.max(tonumber(redis.call('GET', KEYS[1]) or 0) + 1, tonumber(ARGV[4])))
redis.call('SET', KEYS[1], epoch)
for _, writer in ipairs(redis.call('HKEYS', KEYS[2])) do
  if string.sub(writer, 1, #ARGV[1] + 1) == ARGV[1] .. '/' and string.sub(writer, 1, #ours) ~= ours then
    redis.call('HSET', KEYS[2], writer, epoch)
  end
end
redis.call('HSET', KEYS[2], ours .. ARGV[3], epoch)
return epoch
