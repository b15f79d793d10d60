-- Carries out commands on keys of one slot of a cluster, unless a newer writer or newer weights have come in between.
--
-- KEYS  what binds writes to the slot, keys of the commands
-- ARGV  writer, its epoch, version of the weights that were used or '' where they don't matter, their document, then per
--       command: how many words, the words
-- Gives {"done", answers…}, {"fenced"}, or {"newer", version, document}.
local fence = redis.call('HGET', KEYS[1], ARGV[1])
if fence and fence ~= ARGV[2] then return {'fenced'} end
if ARGV[3] ~= '' then
  local known = redis.call('HMGET', KEYS[1], 'version', 'document')
  local version = tonumber(known[1] or -1)
  if version > tonumber(ARGV[3]) then return {'newer', known[1], known[2]} end
  if version < tonumber(ARGV[3]) then redis.call('HSET', KEYS[1], 'version', ARGV[3], 'document', ARGV[4]) end
end
if not fence then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
local answers, place = {'done'}, 5
while place <= #ARGV do
  local last = place + tonumber(ARGV[place])
  answers[#answers + 1] = redis.call(unpack(ARGV, place + 1, last))
  place = last + 1
end
return answers
