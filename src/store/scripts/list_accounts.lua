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
-- KEYS[9] email: lower-cased address -> id
-- KEYS[10..] model: limits of the models the caller wants to see
-- ARGV[1] cursor: number of the last account seen, 0 from the start
-- ARGV[2] cap: most accounts in the page
-- ARGV[3] base: settings below the shared ones
-- ARGV[4] pinned: settings above them
-- ARGV[5..] model: ids of the models, in the order of the keys
-- ARGV[#] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, accounts in the pool, next cursor or 0, accounts that follow, then per account 30 values: id, number, email,
--    source, project, managed project, session, added at, tier, tier's project, tier seen at, database, version,
--    model thresholds, enabled 0|1, reason or empty, invalid since, address, credential version, in flight,
--    conversations, cooling ms, last used, health, tokens, threshold, failures, token ms left, quotas, limits}; quotas are rows
--    `model 31 fraction 31 reset` behind `time 30`, limits rows `model 31 ms left 31 why`, 30 behind each; then per
--    account whose record is damaged 3 values: id, number, email or empty
-- complexity: O(cap * models + accounts for each that is damaged)
-- durability: periodic
local now = clock(ARGV[#ARGV])
local s = load_settings(KEYS[2], ARGV[3], ARGV[4])
local cap = tonumber(ARGV[2])
local ids = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[1], '+inf', 'LIMIT', 0, cap)
local reply = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now, redis.call('ZCARD', KEYS[3]), 0, 0 }
local at = { acct = KEYS[4], hot = KEYS[5], inv = KEYS[6], tok = KEYS[7], quota = KEYS[8] }
local pages, damaged = {}, {}
local function limits_of(a)
  local limits = {}
  for k = 10, #KEYS do
    local first = a.seq - a.seq % PAGE
    if not pages[k] or pages[k].first ~= first then pages[k] = { first = first, text = read_page(KEYS[k], a.seq) } end
    local m = record_of(pages[k].text, a.seq)
    if m.rl > now and m.why > 0 then limits[#limits + 1] = table.concat({ ARGV[k - 5], m.rl - now, WHY[m.why] }, '\31') .. '\30' end
  end
  return table.concat(limits)
end
for _, id in ipairs(ids) do
  local a = describe(reply, at, id, s, now)
  if a then
    reply[#reply + 1] = limits_of(a)
    reply[6] = reply[6] + 1
  else
    damaged[#damaged + 1] = id
  end
end
local function number_of(id) return tonumber(redis.call('ZSCORE', KEYS[3], id)) end
for _, id in ipairs(damaged) do
  for _, value in ipairs({ id, number_of(id), address_of(KEYS[9], id) }) do reply[#reply + 1] = value end
end
if #ids == cap then reply[5] = number_of(ids[cap]) end
return reply
