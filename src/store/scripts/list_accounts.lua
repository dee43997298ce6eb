-- script: list_accounts
-- purpose: a page of accounts in their order, with what selection sees of them now
-- KEYS[1] meta: sequence
-- KEYS[2] cfg: shared settings
-- KEYS[3] roster: order of accounts
-- KEYS[4] acct: account records
-- KEYS[5] hot: selection records
-- KEYS[6] inv: when and why accounts became invalid
-- KEYS[7] tok: sealed access tokens
-- KEYS[8] quota: quotas by account
-- KEYS[9..] model: limits of the models the caller wants to see
-- ARGV[1] cursor: number of the last account seen, 0 from the start
-- ARGV[2] cap: most accounts in the page
-- ARGV[3] base: settings below the shared ones
-- ARGV[4] pinned: settings above them
-- ARGV[5..] model: ids of the models, in the order of the keys
-- ARGV[#] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, accounts in the pool, next cursor or 0, then per account 29 values: id, number, email,
--    source, project, managed project, session, added at, tier, tier's project, tier seen at, database, version,
--    model thresholds, enabled 0|1, reason or empty, invalid since, address, credential version, in flight,
--    cooling ms, last used, health, tokens, threshold, failures, token ms left, quotas, limits}; quotas are rows
--    `model 31 fraction 31 reset` behind `time 30`, limits rows `model 31 ms left 31 why`, 30 behind each
-- complexity: O(cap * models)
-- durability: periodic
local now = clock(ARGV[#ARGV])
local s = load_settings(KEYS[2], ARGV[3], ARGV[4])
local cap = tonumber(ARGV[2])
local ids = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[1], '+inf', 'LIMIT', 0, cap)
local reply = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now, redis.call('ZCARD', KEYS[3]), 0 }
local n = #reply
local function put(value)
  n = n + 1
  reply[n] = value
end
for i, id in ipairs(ids) do
  local account = read_account(redis.call('HGET', KEYS[4], id))
  local a = read_hot(redis.call('HGET', KEYS[5], id))
  local token = read_token(redis.call('HGET', KEYS[7], id))
  local invalid = split(redis.call('HGET', KEYS[6], id) or '\31')
  put(id)
  for f = 2, 14 do put(account[f]) end
  put(tonumber(a.en))
  put(REASONS[a.inv] or '')
  put(a.inv == 'o' and '' or invalid[1])
  put(a.inv == 'o' and '' or invalid[2])
  put(a.cv)
  put(a.n)
  put(math.max(0, a.cool - now))
  put(a.lu)
  put(exact(health_of(a, now, s)))
  put(exact(tokens_of(a, now, s)))
  put(a.th)
  put(a.cf)
  put(token_is_fresh(token, a.cv, now) and token.ends - now or 0)
  put(redis.call('HGET', KEYS[8], id) or '')
  local limits = {}
  for k = 9, #KEYS do
    local m = read_model(redis.call('HGET', KEYS[k], id))
    if m.rl > now then limits[#limits + 1] = table.concat({ ARGV[k - 4], m.rl - now, m.why }, '\31') .. '\30' end
  end
  put(table.concat(limits))
  if i == cap then reply[5] = a.seq end
end
return reply
