-- Writes absolute values into one hash, except where a newer writer has written, and announces them on a stream.
--
-- KEYS  hash, stream of changes (only when ARGV[2] is not empty)
-- ARGV  writer's epoch, kind for the stream or '', then per field: name, value
-- Gives the number of values refused.
local epoch, kind = tonumber(ARGV[1]), ARGV[2]
local names = {}
for i = 3, #ARGV, 2 do
  names[#names + 1] = ARGV[i]
end
local stored = redis.call('HMGET', KEYS[1], unpack(names))
local written, announced, refused = {}, {}, 0
for i, name in ipairs(names) do
  local value = ARGV[2 * i + 2]
  if stored[i] and tonumber(string.match(stored[i], '^%d+')) > epoch then
    refused = refused + 1
  else
    written[#written + 1] = name
    written[#written + 1] = ARGV[1] .. '|' .. value
    if kind ~= '' then announced[#announced + 1] = cjson.encode(name) .. ':' .. value end
  end
end
if #written > 0 then
  redis.call('HSET', KEYS[1], unpack(written))
  if kind ~= '' then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', '10000', '*', 'kind', kind, 'rows', '{' .. table.concat(announced, ',') .. '}')
  end
end
return refused
