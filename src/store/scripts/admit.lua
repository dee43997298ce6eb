-- script: admit
-- purpose: chooses the account of one attempt, leases it and hands out its token; asked again with the same lease
--    it repeats its answer. Or explains: says how it would choose, and changes nothing
-- KEYS[1] meta: sequence, round-robin cursor, place of the window
-- KEYS[2] cfg: shared settings
-- KEYS[3] hot: selection records, also written by settle, heartbeat and the account scripts
-- KEYS[4] acct: account records
-- KEYS[5] tok: sealed access tokens
-- KEYS[6] leases: live leases
-- KEYS[7] req: this attempt's record
-- KEYS[8] model: limits and quotas for the model
-- KEYS[9] probe: who probes the limited model
-- KEYS[10] th: per-model thresholds
-- KEYS[11] roster: id -> number, the order of accounts
-- KEYS[12] convs: live conversations
-- KEYS[13] stick: which account the conversation has for the model
-- ARGV[1] lease: id of the attempt
-- ARGV[2] lease_ms: how long the lease lives unless renewed
-- ARGV[3] base: settings below the shared ones, lines `name=value`
-- ARGV[4] pinned: settings above them
-- ARGV[5] model: model id
-- ARGV[6] tried: account ids this request tried, space between
-- ARGV[7] known: tokens the caller holds, `id=generation`, space between
-- ARGV[8] max_wait_ms: longer waits allow one caller to probe; -1 never
-- ARGV[9] conversation: the end of its key's name; empty is none
-- ARGV[10] explain: 1 changes nothing and tells why; else empty
-- ARGV[11] now: ms since the epoch, empty for the store's own time
-- reply: {OK|PROBE, seq, now, id, credential version, project, session, tier, throttle ms, in flight, tried 0|1,
--    accounts in the pool, source, token generation, token ms left, sealed token (empty when the caller holds it; generation 0:
--    none is fresh)} | {WAIT, seq, now, ms, why: quota, rate, unknown, capacity, failure, forbidden, unsupported,
--    cooling, busy or recovering, 1 when it is the conversation's own account that is waited for, else 0} |
--    {EMPTY|NO_ENABLED, seq, now} | {DAMAGED, seq, now} when none is enabled but those whose records cannot be read |
--    {ALL_INVALID, seq, now, reasons}. Explained:
--    {EXPLAIN, seq, now, strategy, code as above, id, tier, ms, why, conversation's account, accounts in the pool,
--    then per account looked at 16 values: id, number, verdict (usable, tried, disabled, damaged, a reason of
--    invalidity or of WAIT), ms to wait, tier or empty, score, its parts for health, bucket, quota, rest, requests in
--    flight and affinity, health, tokens, in flight, conversations}
-- complexity: O(accounts, at most 301 unless none of those is usable, or a damaged one is chosen at first + expired
--    leases and conversations up to 128)
-- durability: periodic
local now, explain = clock(ARGV[11]), ARGV[10] == '1'

local function answer(d, record)
  local source, project, managed, session = string.match(record, SERVED)
  local cv = tonumber(d[3])
  local token = read_token(redis.call('HGET', KEYS[5], d[2]))
  local generation, left, sealed = 0, 0, ''
  if token_is_fresh(token, cv, now) then
    generation, left = token.gen, token.ends - now
    local held = ' ' .. d[2] .. '=' .. generation .. ' '
    if not string.find(' ' .. ARGV[7] .. ' ', held, 1, true) then sealed = token.sealed end
  end
  if managed ~= '' then project = managed end
  return { d[4], tonumber(d[9]), tonumber(d[10]), d[2], cv, project, session, d[5], tonumber(d[6]), tonumber(d[11]),
    tonumber(d[7]), tonumber(d[12]), source, generation, left, sealed }
end

local recorded = not explain and redis.call('GET', KEYS[7])
if recorded then
  local d = split(recorded)
  if d[1] ~= 'open' then return redis.error_reply('SETTLED this attempt has ended') end
  local record = redis.call('HGET', KEYS[4], d[2])
  if is_account(record) then return answer(d, record) end
end

local seq
if explain then
  seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
else
  seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  lapse(KEYS[6], KEYS[3], 'n', now, 64)
end
local total = redis.call('ZCARD', KEYS[11])
if total == 0 and not explain then return { 'EMPTY', seq, now } end

local s = load_settings(KEYS[2], ARGV[3], ARGV[4])
local strategy, most_wait = s['strategy'], tonumber(ARGV[8])
-- An unknown strategy is hybrid.
local remembers = ARGV[9] ~= '' and (strategy == 'sticky' or (strategy ~= 'round-robin' and s['weights.affinity'] ~= 0))
local sticky = remembers and strategy == 'sticky'
if sticky and not explain then lapse(KEYS[12], KEYS[3], 'c', now, 64) end
local view = { now = now, s = s, total = total, place = 0, meta = KEYS[1], hot = KEYS[3], model = KEYS[8],
  floors = KEYS[10], roster = KEYS[11], name = ARGV[5], most = s['maxConcurrentPerAccount'], ramp = s['recoveryRampMs'],
  pages = {}, patience = most_wait, last_id = remembers and redis.call('GET', KEYS[13]) or nil }
local function number_of(id) return tonumber(redis.call('ZSCORE', KEYS[11], id) or nil) end
if view.last_id then view.last = number_of(view.last_id) end
if ARGV[6] ~= '' then
  view.tried = {}
  for id in string.gmatch(ARGV[6], '[^ ]+') do view.tried[number_of(id) or 0] = true end
end

-- The chosen account with its id and its record, or why there is none.
local function decide()
  view.witness = explain and {} or nil
  no_leaders(view)
  local chosen, pool
  if total == 0 then
    pool = new_pool()
  elseif strategy == 'round-robin' then
    chosen, pool = choose_next(view, tonumber(redis.call('HGET', KEYS[1], 'cursor') or nil))
  elseif strategy == 'sticky' then
    chosen, pool = choose_sticky(view)
  else
    chosen, pool = choose_hybrid(view)
  end
  local code, reasons = 'OK', {}
  if not chosen then
    for i, reason in ipairs(REASONS) do
      if pool.reasons[i] then reasons[#reasons + 1] = reason end
    end
    if total == 0 then
      code = 'EMPTY'
    elseif pool.enabled == 0 then
      code = pool.damaged > 0 and 'DAMAGED' or 'NO_ENABLED'
    elseif pool.valid == 0 then
      code = 'ALL_INVALID'
    elseif most_wait < 0 or pool.wait <= most_wait or not pool.probe or lock_state(KEYS[9], now) then
      code = 'WAIT'
    else
      chosen, code = pool.probe, 'PROBE'
    end
  end
  local id = chosen and redis.call('ZRANGEBYSCORE', KEYS[11], chosen.seq, chosen.seq)[1]
  return chosen, code, reasons, pool, id, id and redis.call('HGET', KEYS[4], id)
end

-- Numbers of the accounts whose descriptive records can be read.
local function described()
  local numbers, records = {}, {}
  local rows = redis.call('HGETALL', KEYS[4])
  for i = 1, #rows, 2 do records[rows[i]] = rows[i + 1] end
  rows = redis.call('ZRANGE', KEYS[11], 0, -1, 'WITHSCORES')
  for i = 1, #rows, 2 do
    if is_account(records[rows[i]]) then numbers[tonumber(rows[i + 1])] = true end
  end
  return numbers
end

local chosen, code, reasons, pool, id, record = decide()
if chosen and not is_account(record) then
  -- So seldom that it may cost a look at all.
  view.served = described()
  chosen, code, reasons, pool, id, record = decide()
end
local tier = chosen and (code == 'PROBE' and 'probe' or TIERS[chosen.tier]) or ''

if explain then
  local reply = { 'EXPLAIN', seq, now, strategy, code, id or '', tier, code == 'WAIT' and pool.wait or 0,
    code == 'WAIT' and pool.why or table.concat(reasons, ' '), view.last_id or '', total }
  table.sort(view.witness, function(x, y) return x.seq < y.seq or (x.seq == y.seq and x.id < y.id) end)
  for _, row in ipairs(view.witness) do
    local parts = row.parts
    for _, value in ipairs({ row.id, row.seq, row.verdict, row.wait, row.tier and TIERS[row.tier] or '' }) do
      reply[#reply + 1] = value
    end
    reply[#reply + 1] = row.score and exact(row.score) or ''
    for i = 1, 6 do reply[#reply + 1] = parts[i] and exact(parts[i]) or '' end
    reply[#reply + 1] = row.health and exact(row.health) or ''
    reply[#reply + 1] = row.tokens and exact(row.tokens) or ''
    reply[#reply + 1] = row.n or 0
    reply[#reply + 1] = row.c or 0
  end
  return reply
end
if code == 'WAIT' then return { 'WAIT', seq, now, pool.wait, pool.why, pool.own and 1 or 0 } end
if code == 'ALL_INVALID' then return { 'ALL_INVALID', seq, now, table.concat(reasons, ' ') } end
if not chosen then return { code, seq, now } end

if code == 'PROBE' then take_lock(KEYS[9], ARGV[1], s['probeMs'], now) end
if remembers then redis.call('SET', KEYS[13], id, 'PX', math.max(1, s['sticky.ttlMs'])) end
if sticky and view.last_id and view.last_id ~= id
    and redis.call('ZREM', KEYS[12], view.last_id .. '/' .. ARGV[9]) == 1 then
  change_count(KEYS[3], view.last_id, 'c', -1)
end
local a = read_hot(chosen.text or redis.call('HGET', KEYS[3], id))
if sticky and redis.call('ZADD', KEYS[12], now + s['sticky.ttlMs'], id .. '/' .. ARGV[9]) == 1 then a.c = a.c + 1 end
if chosen.takes then take_token(a, now, s) end
a.lu = now
-- An attempt whose record was lost may still have its lease.
if redis.call('ZADD', KEYS[6], now + tonumber(ARGV[2]), id .. '/' .. ARGV[1]) == 1 then a.n = a.n + 1 end
write_hot(KEYS[3], id, a)
if chosen.ended and now - chosen.ended < 10 * s['recoveryRampMs'] then begin_recovery(KEYS[8], a.seq, now) end
if view.window then redis.call('HSET', KEYS[1], 'window', view.window) end
if strategy == 'round-robin' then redis.call('HSET', KEYS[1], 'cursor', chosen.seq) end
local d = { 'open', id, a.cv, code, tier, chosen.throttle or 0, chosen.tried and 1 or 0, chosen.takes and 1 or 0, seq,
  now, a.n, total }
redis.call('SET', KEYS[7], table.concat(d, '\31'), 'PX', 900000)
return answer(d, record)
