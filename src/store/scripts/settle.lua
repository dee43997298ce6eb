-- script: settle
-- purpose: ends an attempt: removes its lease and applies what the upstream showed about the account;
--    asked again with the same lease it repeats its answer and changes nothing
-- KEYS[1] meta: sequence
-- KEYS[2] cfg: shared settings
-- KEYS[3] hot: selection records
-- KEYS[4] leases: live leases
-- KEYS[5] req: this attempt's record
-- KEYS[6] model: limits and quotas for the model
-- KEYS[7] probe: who probes the limited model
-- KEYS[8] inv: when and why accounts became invalid
-- KEYS[9] usage: counters of the hour in which the attempt was admitted
-- KEYS[10] hourly: those of its day, by hour and model
-- KEYS[11] daily: those of its day, by model and client key
-- ARGV[1] id: account
-- ARGV[2] lease: id of the attempt
-- ARGV[3] cv: credential version the attempt used
-- ARGV[4] outcome: success, rate_limited, capacity, failure, unauthorized, not_found, forbidden, revoked,
--    banned, verification, client_error, cancelled, released, empty, blocked
-- ARGV[5] detail: rate_limited: quota, rate or unknown; verification: address
-- ARGV[6] ms: rate_limited: time to the reset, -1 unknown; capacity: jitter, may be negative; else 0
-- ARGV[7] received: 1 when the client got something
-- ARGV[8] base: settings below the shared ones
-- ARGV[9] pinned: settings above them
-- ARGV[10] channel: of events
-- ARGV[11] counted: the model that the request counts for; empty counts nothing
-- ARGV[12] status: class
-- ARGV[13] client_key: id
-- ARGV[14] hour: of the admission, in hours since the epoch
-- ARGV[15] input: tokens
-- ARGV[16] output: tokens
-- ARGV[17] cache_read: tokens
-- ARGV[18] thinking: tokens
-- ARGV[19] latency: ms
-- ARGV[20] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, duplicate 0|1, attempt (429s in a row), ms until the account is usable for the model,
--    invalidated 0|1, limit that it set or extended: quota, rate, unknown, capacity, failure, forbidden, unsupported or
--    cooling, else empty} | {GONE, seq, now, 0, 0, 0, 0, ''} when the account was removed, or its record is damaged
-- complexity: O(log live leases + settings)
-- durability: periodic
local now = clock(ARGV[20])
local id, outcome = ARGV[1], ARGV[4]
local taken, started, probing = false, nil, false

local recorded = redis.call('GET', KEYS[5])
if recorded then
  local d = split(recorded)
  if d[1] == 'done' then
    return { d[3], tonumber(d[4]), tonumber(d[5]), tonumber(d[6]), tonumber(d[7]), tonumber(d[8]), tonumber(d[9]),
      d[10] or '' }
  end
  if d[2] ~= id then return redis.error_reply('MISMATCH the lease belongs to another account') end
  taken, started, probing = d[8] == '1', tonumber(d[10]), d[4] == 'PROBE'
end

local text = redis.call('HGET', KEYS[3], id)
-- A damaged account is as good as gone.
local a = is_hot(text) and read_hot(text)
local m = read_model(KEYS[6], a and a.seq or 0)
local before = pack_model(m)
local s = load_settings(KEYS[2], ARGV[8], ARGV[9])
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local duplicate, attempt, invalidated, limited, cooled, set = 0, 0, 0, m.rl, a and a.cool, ''

local freed = false
if redis.call('ZREM', KEYS[4], id .. '/' .. ARGV[2]) == 1 and a then
  freed = makes_room(a, s)
  a.n = math.max(0, a.n - 1)
end
-- A probe that failed keeps others from probing until its lock lapses.
if probing and (outcome == 'success' or outcome == 'blocked') then
  local prober = lock_state(KEYS[7], now)
  if prober == ARGV[2] then redis.call('DEL', KEYS[7]) end
end

local function count_failure()
  if elapsed(now, a.cfat) > s['failureDecayMs'] then a.cf = 0 end
  a.cf = a.cf + 1
  a.cfat = now
end

local function refund()
  if taken then refund_token(a, now, s) end
end

local function limit(ms, why)
  extend_limit(m, now, ms, why)
end

local function rate_limited(kind, reset)
  duplicate = m.bn > 0 and elapsed(now, m.bat) < s['rateLimitDedupWindowMs'] and 1 or 0
  if duplicate == 0 then
    m.bn = elapsed(now, m.bat) < s['rateLimitStateResetMs'] and m.bn + 1 or 1
    m.bat = now
    if kind == 'quota' then m.qn = m.qn + 1 end
    count_failure()
    change_health(a, now, s, s['health.rateLimitPenalty'])
  end
  attempt = m.bn
  if reset > 0 then
    limit(math.max(reset, 2000), kind)
  elseif kind == 'quota' then
    limit(({ 60000, 300000, 1800000, 7200000 })[math.max(1, math.min(m.qn, 4))], kind)
  else
    limit(kind == 'rate' and 30000 or s['defaultCooldownMs'], kind)
  end
end

local function failed()
  count_failure()
  change_health(a, now, s, s['health.failurePenalty'])
  refund()
  if a.cf >= s['maxConsecutiveFailures'] then limit(s['extendedCooldownMs'], 'failure') end
end

if a then
  if outcome == 'success' or outcome == 'blocked' then
    change_health(a, now, s, s['health.successReward'])
    a.cf, m.bn, m.bat, m.qn = 0, 0, 0, 0
    if m.rl > now and (probing or (started and m.rlat < started)) then m.rl, m.why = now, 0 end
  elseif outcome == 'rate_limited' then
    rate_limited(ARGV[5], tonumber(ARGV[6]))
  elseif outcome == 'capacity' then
    refund()
    limit(math.max(0, s['capacityLimitMs'] + tonumber(ARGV[6])), 'capacity')
  elseif outcome == 'failure' then
    failed()
  elseif outcome == 'forbidden' then
    failed()
    limit(s['forbiddenCooldownMs'], 'forbidden')
  elseif outcome == 'not_found' then
    refund()
    limit(s['notFoundCooldownMs'], 'unsupported')
  elseif outcome == 'unauthorized' then
    refund()
    if a.cv == tonumber(ARGV[3]) then a.cool = math.max(a.cool, now + s['unauthorizedCooldownMs']) end
  elseif REASON_CODES[outcome] then
    refund()
    if invalidate(KEYS[3], KEYS[8], id, a, tonumber(ARGV[3]), outcome, ARGV[5], now) then
      invalidated = 1
      redis.call('PUBLISH', ARGV[10], 'account ' .. id .. ' ' .. seq)
    end
  else
    if ARGV[7] ~= '1' then refund() end
    if outcome == 'empty' and s['health.emptyPenalty'] ~= 0 then change_health(a, now, s, s['health.emptyPenalty']) end
  end
  write_hot(KEYS[3], id, a)
  if pack_model(m) ~= before then write_model(KEYS[6], a.seq, m, now) end
  if a.cool > cooled then set = 'cooling' end
  if m.rl > limited then
    set = WHY[m.why]
    redis.call('PUBLISH', ARGV[10], 'limit ' .. id .. ' ' .. seq)
  elseif m.rl < limited and limited > now then
    redis.call('PUBLISH', ARGV[10], 'lifted ' .. id .. ' ' .. seq)
  end
  -- Also behind a limit: it is one of this model, the room is for all.
  if freed then
    redis.call('PUBLISH', ARGV[10], 'freed ' .. id .. ' ' .. seq)
  end
end

if ARGV[11] ~= '' then count_usage(KEYS[9], KEYS[10], KEYS[11], 11) end

local backoff = a and math.max(0, math.max(m.rl, a.cool) - now) or 0
local d = { 'done', id, a and 'OK' or 'GONE', seq, now, duplicate, attempt, backoff, invalidated, set }
redis.call('SET', KEYS[5], table.concat(d, '\31'), 'PX', 900000)
return { d[3], seq, now, duplicate, attempt, backoff, invalidated, set }
