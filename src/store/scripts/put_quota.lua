-- script: put_quota
-- purpose: replaces all quotas of an account by those just fetched; what is not listed becomes unknown
-- KEYS[1] meta: sequence
-- KEYS[2] hot: selection records
-- KEYS[3] quota: quotas by account, for lists
-- KEYS[4..] model: one per model listed, at most 256
-- ARGV[1] id: account
-- ARGV[2] rows: `model 31 fraction or empty 31 reset or empty`, `31 told` where there is a quota, 30 behind each, in the
--    order of the keys
-- ARGV[3] now: ms since the epoch, empty for the store's own time
-- reply: {OK|NONE, seq, now}
-- complexity: O(models)
-- durability: periodic
local now = clock(ARGV[3])
local id = ARGV[1]
local text = redis.call('HGET', KEYS[2], id)
if not text then return { 'NONE', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now } end
local a, k = read_hot(text), 3
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
a.qg, a.qat = a.qg + 1, now
for row in string.gmatch(ARGV[2], '([^\30]*)\30') do
  k = k + 1
  local m = read_model(KEYS[k], a.seq)
  m.frac, m.qg = tonumber(split(row)[2]) or -1, a.qg
  write_model(KEYS[k], a.seq, m, now)
end
write_hot(KEYS[2], id, a)
redis.call('HSET', KEYS[3], id, now .. '\30' .. ARGV[2])
return { 'OK', seq, now }
