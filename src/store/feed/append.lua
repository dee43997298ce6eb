-- Appends a writer's entries, each once however often it sends them: a batch whose answer was lost is sent again.
-- KEYS[1] stream of the topic; KEYS[2] number of this writer's last entry
-- ARGV[1] entries to keep, about; ARGV[2] ms for which KEYS[2] is remembered; then per entry its number and its text
local last = tonumber(redis.call('GET', KEYS[2]) or 0)
for i = 3, #ARGV, 2 do
  local number = tonumber(ARGV[i])
  if number > last then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[i + 1])
    last = number
  end
end
redis.call('SET', KEYS[2], last, 'PX', ARGV[2])
return last
