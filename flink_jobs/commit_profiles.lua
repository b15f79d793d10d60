-- Writes counts and scores of some users, each user whole or not at all.
--
-- KEYS  weights:in_force, then per user: profile, counts
-- ARGV  weights version, weights document, writer's epoch, then per user: newest event time (ms), number of rows, and a
--       row each: tag, counts, score
-- Gives {"done", rows refused because a newer writer owns them} or {"stale", version in force, its document}.
local version, document, epoch = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local in_force = tonumber(redis.call('HGET', KEYS[1], 'version') or -1)
if in_force > version then
  return {'stale', tostring(in_force), redis.call('HGET', KEYS[1], 'document')}
elseif in_force < version then
  redis.call('HSET', KEYS[1], 'version', ARGV[1], 'document', document)
end

local at, refused = 4, 0
for k = 2, #KEYS, 2 do
  local as_of, rows = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  local tags = {''}
  for i = 1, rows do
    tags[i + 1] = ARGV[at + 3 * (i - 1)]
  end
  local stored = redis.call('HMGET', KEYS[k + 1], unpack(tags))
  local counts, scores = {}, {}
  if not stored[1] or tonumber(stored[1]) < tonumber(as_of) then
    counts = {'', as_of}
  end
  for i = 1, rows do
    local row = stored[i + 1]
    if row and tonumber(string.match(row, '^%d+')) > epoch then
      refused = refused + 1
    else
      local tag, field = ARGV[at], #counts
      counts[field + 1], counts[field + 2] = tag, ARGV[at + 1]
      field = #scores
      scores[field + 1], scores[field + 2] = tag, ARGV[at + 2]
    end
    at = at + 3
  end
  if #counts > 0 then redis.call('HSET', KEYS[k + 1], unpack(counts)) end
  if #scores > 0 then redis.call('HSET', KEYS[k], unpack(scores)) end
end
return {'done', refused}
