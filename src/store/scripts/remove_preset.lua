-- script: remove_preset
-- purpose: removes a preset; of a built-in one that it is removed is kept
-- KEYS[1] meta: sequence and number of the newest record
-- KEYS[2] presets: JSON by name
-- KEYS[3] audit: records of operators
-- ARGV[1] name: of the preset
-- ARGV[2] built_in: 1 when it is there without having been kept
-- ARGV[3] row: for the audit trail; empty for none
-- ARGV[4] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now} | {NONE, seq, now} when it is not there
-- complexity: O(1)
-- durability: fsync
local now = clock(ARGV[4])
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known == '' or (not known and ARGV[2] ~= '1') then
  return { 'NONE', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
end
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[2], ARGV[1], '')
else
  redis.call('HDEL', KEYS[2], ARGV[1])
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
audit(KEYS[1], KEYS[3], ARGV[3], seq, now, '', '', '')
return { 'OK', seq, now }
