-- Writes absolute values into one hash, and announces them on a stream, unless a newer writer has taken this one's place.
--
-- KEYS  writer:fence, hash, stream of changes (only when ARGV[3] is not empty)
-- ARGV  writer, its epoch, kind for the stream or '', JSON of the values for the stream, then per field: name, value
-- Gives {"done"} or {"fenced"}.
local fence = redis.call('HGET', KEYS[1], ARGV[1])
if not fence then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
elseif fence ~= ARGV[2] then
  return {'fenced'}
end
redis.call('HSET', KEYS[2], unpack(ARGV, 5))
if ARGV[3] ~= '' then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', '2000', '*', 'kind', ARGV[3], 'rows', ARGV[4])
end
return {'done'}
