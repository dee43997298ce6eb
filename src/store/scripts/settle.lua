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
-- ARGV[11] usage_row: model, status class and client key joined by byte 31; empty counts nothing
-- ARGV[12] input: tokens
-- ARGV[13] output: tokens
-- ARGV[14] cache_read: tokens
-- ARGV[15] thinking: tokens
-- ARGV[16] latency: ms
-- ARGV[17] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, duplicate 0|1, attempt (429s in a row), ms until the account is usable for the model,
--    invalidated 0|1} | {GONE, seq, now, 0, 0, 0, 0} when the account was removed
-- complexity: O(log live leases + settings)
-- durability: periodic
local now = clock(ARGV[17])
local id, outcome = ARGV[1], ARGV[4]
local taken, started, probing = false, nil, false

local recorded = redis.call('GET', KEYS[5])
if recorded then
  local d = split(recorded)
  if d[1] == 'done' then
    return { d[3], tonumber(d[4]), tonumber(d[5]), tonumber(d[6]), tonumber(d[7]), tonumber(d[8]), tonumber(d[9]) }
  end
  if d[2] ~= id then return redis.error_reply('MISMATCH the lease belongs to another account') end
  taken, started, probing = d[8] == '1', tonumber(d[10]), d[4] == 'PROBE'
end

local text = redis.call('HGET', KEYS[3], id)
local a = text and read_hot(text)
local limits = redis.call('HGET', KEYS[6], id)
local m = read_model(limits)
local s = load_settings(KEYS[2], ARGV[8], ARGV[9])
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local duplicate, attempt, invalidated, limited = 0, 0, 0, m.rl

if redis.call('ZREM', KEYS[4], id .. '/' .. ARGV[2]) == 1 and a then a.n = math.max(0, a.n - 1) end
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
    limit(kind == 'rate' and 30000 or 60000, kind)
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
    if probing or (started and m.rlat < started) then m.rl, m.why = 0, '' end
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
  elseif REASON_LETTERS[outcome] then
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
  local record = pack_model(m)
  if record ~= (limits or NO_LIMITS) then write_model(KEYS[6], id, m, now) end
  if m.rl > limited then
    redis.call('PUBLISH', ARGV[10], 'limit ' .. id .. ' ' .. seq)
  elseif m.rl < limited and limited > now then
    redis.call('PUBLISH', ARGV[10], 'lifted ' .. id .. ' ' .. seq)
  end
end

if ARGV[11] ~= '' then count_usage(KEYS[9], ARGV[11], 12) end

local backoff = a and math.max(0, math.max(m.rl, a.cool) - now) or 0
local d = { 'done', id, a and 'OK' or 'GONE', seq, now, duplicate, attempt, backoff, invalidated }
redis.call('SET', KEYS[5], table.concat(d, '\31'), 'PX', 900000)
return { d[3], seq, now, duplicate, attempt, backoff, invalidated }
