-- script: put_settings
-- purpose: changes shared settings, all of them or none, if nobody else changed any since the caller read them
-- KEYS[1] meta: sequence, generations and number of the newest record
-- KEYS[2] cfg: settings that scripts read
-- KEYS[3] conf: settings that gateways read
-- KEYS[4] audit: records of operators
-- ARGV[1] generation: as read; empty skips the check
-- ARGV[2] channel: of events
-- ARGV[3] row: for the audit trail; empty for none
-- ARGV[4..] change: cfg or conf, name, value; an empty value removes the setting
-- ARGV[#] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, generation} | {CHANGED, seq, now, generation}
-- complexity: O(settings changed)
-- durability: fsync
local now = clock(ARGV[#ARGV])
local row = redis.call('HMGET', KEYS[1], 'seq', 'gen:settings')
local generation = tonumber(row[2] or 0)
if ARGV[1] ~= '' and tonumber(ARGV[1]) ~= generation then
  return { 'CHANGED', tonumber(row[1] or 0), now, generation }
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
for i = 4, #ARGV - 3, 3 do
  local key = ARGV[i] == 'cfg' and KEYS[2] or KEYS[3]
  if ARGV[i + 2] == '' then
    redis.call('HDEL', key, ARGV[i + 1])
  else
    redis.call('HSET', key, ARGV[i + 1], ARGV[i + 2])
  end
end
generation = redis.call('HINCRBY', KEYS[1], 'gen:settings', 1)
audit(KEYS[1], KEYS[4], ARGV[3], seq, now, generation, '', '')
redis.call('PUBLISH', ARGV[2], 'settings ' .. generation .. ' ' .. seq)
return { 'OK', seq, now, generation }
