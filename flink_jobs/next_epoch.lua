-- KEYS  writer:epoch
-- ARGV  a floor for the epoch
-- Gives an epoch above every earlier one.
local epoch = string.format('%d', math.max(tonumber(redis.call('GET', KEYS[1]) or 0) + 1, tonumber(ARGV[1])))
redis.call('SET', KEYS[1], epoch)
return epoch
