-- script: set_account
-- purpose: changes what an operator or discovery may change of an account that exists
-- KEYS[1] meta: sequence and number of the newest record
-- KEYS[2] acct: account records, also written by put_account
-- KEYS[3] hot: selection records
-- KEYS[4] th: per-model thresholds
-- KEYS[5] audit: records of operators
-- ARGV[1] id: account
-- ARGV[2] version: the record's version the caller saw; empty skips the check
-- ARGV[3] enabled: 0, 1, empty keeps
-- ARGV[4] threshold: fraction, `-` removes, empty keeps
-- ARGV[5] model_thresholds: `model=fraction`, space between; `-` removes all, empty keeps
-- ARGV[6] models_changed: of what is there then, `model=fraction` sets one and `model=` removes it, space between
-- ARGV[7] project: `-` removes, empty keeps
-- ARGV[8] managed_project: `-` removes, empty keeps
-- ARGV[9] tier: empty keeps
-- ARGV[10] tier_project: `-` removes, empty keeps
-- ARGV[11] channel: of events
-- ARGV[12] row: for the audit trail; empty for none
-- ARGV[13] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, version} | {SAME, seq, now, version} when it was so before | {NONE, seq, now} | {CHANGED, seq, now, version} | {DAMAGED, seq, now} when its
--    record cannot be read
-- complexity: O(models with thresholds)
-- durability: fsync
local now = clock(ARGV[13])
local id = ARGV[1]
local current = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local text = redis.call('HGET', KEYS[2], id)
local hot = redis.call('HGET', KEYS[3], id)
if not text and not hot then return { 'NONE', current, now } end
if not is_account(text) or not is_hot(hot) then return { 'DAMAGED', current, now } end
local account, a = read_account(text), read_hot(hot)
if ARGV[2] ~= '' and ARGV[2] ~= account[13] then return { 'CHANGED', current, now, tonumber(account[13]) } end

local function change(value, kept)
  if value == '' then return kept end
  return value == '-' and '' or value
end

local before = { write_account(account), a.en, a.th }
local was = { 'enabled', a.en == 1 and 'true' or 'false', 'quotaThreshold', threshold_of(a),
  'modelQuotaThresholds', account[14] }
local fractions = models_of(account[14])
for model in pairs(models_of(ARGV[6])) do
  was[#was + 1], was[#was + 2] = 'modelQuotaThresholds.' .. model, fractions[model] or ''
end
if ARGV[3] ~= '' then a.en = tonumber(ARGV[3]) end
account[14] = change_models(change(ARGV[5], account[14]), ARGV[6])
change_threshold(a, ARGV[4], account[14])
account[5] = change(ARGV[7], account[5])
account[6] = change(ARGV[8], account[6])
if ARGV[9] ~= '' and ARGV[9] ~= account[9] then account[9], account[11] = ARGV[9], now end
account[10] = change(ARGV[10], account[10])
if write_account(account) == before[1] and a.en == before[2] and a.th == before[3] then
  return { 'SAME', current, now, tonumber(account[13]) }
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
account[13] = tonumber(account[13]) + 1
redis.call('HSET', KEYS[2], id, write_account(account))
write_hot(KEYS[3], id, a)
if ARGV[5] .. ARGV[6] ~= '' then index_thresholds(KEYS[4], a.seq, account[14]) end
audit(KEYS[1], KEYS[5], ARGV[12], seq, now, '', account[3], table.concat(was, '\30'))
redis.call('PUBLISH', ARGV[11], 'account ' .. id .. ' ' .. seq)
return { 'OK', seq, now, account[13] }
