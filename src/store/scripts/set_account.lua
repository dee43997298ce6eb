-- script: set_account
-- purpose: changes what an operator or discovery may change of an account that exists
-- KEYS[1] meta: sequence
-- KEYS[2] acct: account records, also written by put_account
-- KEYS[3] hot: selection records
-- KEYS[4] th: per-model thresholds
-- ARGV[1] id: account
-- ARGV[2] version: the record's version the caller saw; empty skips the check
-- ARGV[3] enabled: 0, 1, empty keeps
-- ARGV[4] threshold: fraction, `-` removes, empty keeps
-- ARGV[5] model_thresholds: `model=fraction`, space between; `-` removes all, empty keeps
-- ARGV[6] project: `-` removes, empty keeps
-- ARGV[7] managed_project: `-` removes, empty keeps
-- ARGV[8] tier: empty keeps
-- ARGV[9] tier_project: `-` removes, empty keeps
-- ARGV[10] channel: of events
-- ARGV[11] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, version} | {NONE, seq, now} | {CHANGED, seq, now, version}
-- complexity: O(models with thresholds)
-- durability: fsync
local now = clock(ARGV[11])
local id = ARGV[1]
local current = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local text = redis.call('HGET', KEYS[2], id)
if not text then return { 'NONE', current, now } end
local account = read_account(text)
if ARGV[2] ~= '' and ARGV[2] ~= account[13] then return { 'CHANGED', current, now, tonumber(account[13]) } end
local a = read_hot(redis.call('HGET', KEYS[3], id))

local function change(value, kept)
  if value == '' then return kept end
  return value == '-' and '' or value
end

local before = { write_account(account), a.en, a.th }
a.en = change(ARGV[3], a.en)
a.th = change(ARGV[4], a.th)
account[14] = change(ARGV[5], account[14])
account[5] = change(ARGV[6], account[5])
account[6] = change(ARGV[7], account[6])
if ARGV[8] ~= '' and ARGV[8] ~= account[9] then account[9], account[11] = ARGV[8], now end
account[10] = change(ARGV[9], account[10])
if write_account(account) == before[1] and a.en == before[2] and a.th == before[3] then
  return { 'OK', current, now, tonumber(account[13]) }
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
account[13] = tonumber(account[13]) + 1
redis.call('HSET', KEYS[2], id, write_account(account))
write_hot(KEYS[3], id, a)
if ARGV[5] ~= '' then index_thresholds(KEYS[4], id, account[14]) end
redis.call('PUBLISH', ARGV[10], 'account ' .. id .. ' ' .. seq)
return { 'OK', seq, now, account[13] }
