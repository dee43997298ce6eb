-- Appends a writer's entries, each once however often it sends them: a batch whose answer was lost is sent again. Then
-- takes away what is too much or too old, and remembers what that was.
-- KEYS[1] stream of the topic; KEYS[2] number of this writer's last entry; KEYS[3] what was taken away last: the id of
--   an entry when all before it and nothing behind it is gone, `-` when that is not known
-- ARGV[1] entries to keep, about; ARGV[2] ms for which entries are kept; ARGV[3] ms for which KEYS[2] is remembered;
--   then per entry its number and its text
-- A stream that was deleted begins anew: of what is in it nothing was taken away.
if redis.call('GET', KEYS[3]) == '-' and not redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1] then
  redis.call('DEL', KEYS[3])
end
local last = tonumber(redis.call('GET', KEYS[2]) or 0)
for i = 4, #ARGV, 2 do
  local number = tonumber(ARGV[i])
  if number > last then
    redis.call('XADD', KEYS[1], '*', 'e', ARGV[i + 1])
    last = number
  end
end
redis.call('SET', KEYS[2], last, 'PX', ARGV[3])
-- Whole nodes of the stream, so which entry was the last of them is not told.
if redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[1]) > 0 then redis.call('SET', KEYS[3], '-') end
local time = redis.call('TIME')
local since = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2]
if since > 0 then
  local old = redis.call('XREVRANGE', KEYS[1], string.format('%.0f', since - 1), '-', 'COUNT', 1)
  if old[1] then
    redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', since))
    redis.call('SET', KEYS[3], old[1][1])
  end
end
return last
