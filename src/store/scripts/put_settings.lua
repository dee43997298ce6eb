-- script: put_settings
-- purpose: changes shared settings, if nobody else changed them since the caller read them
-- KEYS[1] meta: sequence and generations
-- KEYS[2] settings: cfg (read by scripts) or conf (read by gateways)
-- ARGV[1] scope: cfg or conf
-- ARGV[2] generation: as read; empty skips the check
-- ARGV[3] channel: of events
-- ARGV[4..] change: name, then value; an empty value removes the setting
-- ARGV[#] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, generation} | {CHANGED, seq, now, generation}
-- complexity: O(settings changed)
-- durability: fsync
local now = clock(ARGV[#ARGV])
local field = 'gen:' .. ARGV[1]
local row = redis.call('HMGET', KEYS[1], 'seq', field)
local generation = tonumber(row[2] or 0)
if ARGV[2] ~= '' and tonumber(ARGV[2]) ~= generation then
  return { 'CHANGED', tonumber(row[1] or 0), now, generation }
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
for i = 4, #ARGV - 2, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
generation = redis.call('HINCRBY', KEYS[1], field, 1)
redis.call('PUBLISH', ARGV[3], 'settings ' .. ARGV[1] .. ' ' .. seq)
return { 'OK', seq, now, generation }
