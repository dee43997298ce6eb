-- script: restore_account
-- purpose: gives an account that came from elsewhere what it has lived through there: when it was last used, why it is
--    invalid, its limits and quotas; only if it still has the credential it came with
-- KEYS[1] meta: sequence
-- KEYS[2] hot: selection records
-- KEYS[3] inv: when and why accounts became invalid
-- KEYS[4] quota: quotas by account, for lists
-- KEYS[5..] model: one per row, at most 256
-- ARGV[1] id: account
-- ARGV[2] cv: credential version it came with
-- ARGV[3] last_used: ms since the epoch, or empty
-- ARGV[4] reason: revoked, banned or verification, or empty
-- ARGV[5] since: when it became invalid, ms; empty is now
-- ARGV[6] address: where the owner verifies, or empty
-- ARGV[7] quota_at: when its quotas were fetched, ms; 0 when that is unknown, empty without quotas
-- ARGV[8] rows: `model 31 fraction or empty 31 reset or empty 31 limited until, ms, or empty 31 why`, 30 behind each, in
--    the order of the keys
-- ARGV[9] channel: of events
-- ARGV[10] now: ms since the epoch, empty for the store's own time
-- reply: {OK|STALE|NONE, seq, now}
-- complexity: O(models)
-- durability: fsync
local now = clock(ARGV[10])
local id = ARGV[1]
local text = redis.call('HGET', KEYS[2], id)
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
if not text then return { 'NONE', seq, now } end
local a, k, quotas = read_hot(text), 4, ''
if a.cv ~= tonumber(ARGV[2]) then return { 'STALE', seq, now } end
seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
if ARGV[3] ~= '' then a.lu = math.min(now, math.max(a.lu, tonumber(ARGV[3]))) end
if ARGV[4] ~= '' then
  a.inv = REASON_CODES[ARGV[4]]
  redis.call('HSET', KEYS[3], id, (ARGV[5] ~= '' and ARGV[5] or now) .. '\31' .. ARGV[6])
end
if ARGV[7] ~= '' then a.qg, a.qat = a.qg + 1, math.min(now, tonumber(ARGV[7])) end
for row in string.gmatch(ARGV[8], '([^\30]*)\30') do
  k = k + 1
  local fields = split(row)
  local m = read_model(KEYS[k], a.seq)
  m.frac, m.qg = tonumber(fields[2]) or -1, a.qg
  local ends = tonumber(fields[4])
  if ends and ends > now then m.rl, m.why, m.rlat = ends, WHY_CODES[fields[5]], now end
  write_model(KEYS[k], a.seq, m, now)
  quotas = quotas .. fields[1] .. '\31' .. fields[2] .. '\31' .. fields[3] .. '\30'
end
write_hot(KEYS[2], id, a)
if ARGV[7] ~= '' then redis.call('HSET', KEYS[4], id, ARGV[7] .. '\30' .. quotas) end
redis.call('PUBLISH', ARGV[9], 'account ' .. id .. ' ' .. seq)
return { 'OK', seq, now }
