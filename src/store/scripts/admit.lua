-- script: admit
-- purpose: chooses the account of one attempt, leases it and hands out its token; asked again with
--    the same lease it repeats its answer
-- KEYS[1] meta: sequence and round-robin cursor
-- KEYS[2] cfg: shared settings
-- KEYS[3] hot: selection records, also written by settle, heartbeat and the account scripts
-- KEYS[4] acct: account records
-- KEYS[5] tok: sealed access tokens
-- KEYS[6] leases: live leases
-- KEYS[7] req: this attempt's record
-- KEYS[8] model: limits and quotas for the model
-- KEYS[9] probe: who probes the limited model
-- KEYS[10] th: per-model thresholds
-- ARGV[1] lease: id of the attempt
-- ARGV[2] lease_ms: how long the lease lives unless renewed
-- ARGV[3] base: settings below the shared ones, lines `name=value`
-- ARGV[4] pinned: settings above them
-- ARGV[5] model: model id
-- ARGV[6] tried: account ids this request tried, space between
-- ARGV[7] known: tokens the caller holds, `id=generation`, space between
-- ARGV[8] max_wait_ms: longer waits allow one caller to probe; -1 never
-- ARGV[9] now: ms since the epoch, empty for the store's own time
-- reply: {OK|PROBE, seq, now, id, credential version, project, session, tier, throttle ms, in flight, tried 0|1,
--    source, token generation, token ms left, sealed token (empty when the caller holds it; generation 0:
--    none is fresh)} | {WAIT, seq, now, ms, why: quota, rate, unknown, capacity,
--    failure, forbidden, unsupported or cooling} | {EMPTY|NO_ENABLED, seq, now} | {ALL_INVALID, seq, now, reasons}
-- complexity: O(accounts + expired leases up to 64)
-- durability: periodic
local now = clock(ARGV[9])

local function answer(d)
  local account = read_account(redis.call('HGET', KEYS[4], d[2]))
  local cv = tonumber(d[3])
  local token = read_token(redis.call('HGET', KEYS[5], d[2]))
  local generation, left, sealed = 0, 0, ''
  if token_is_fresh(token, cv, now) then
    generation, left = token.gen, token.ends - now
    local held = ' ' .. d[2] .. '=' .. generation .. ' '
    if not string.find(' ' .. ARGV[7] .. ' ', held, 1, true) then sealed = token.sealed end
  end
  local project = account[6] ~= '' and account[6] or account[5]
  return { d[4], tonumber(d[9]), tonumber(d[10]), d[2], cv, project, account[7], d[5], tonumber(d[6]), tonumber(d[11]),
    tonumber(d[7]), account[4], generation, left, sealed }
end

local recorded = redis.call('GET', KEYS[7])
if recorded then
  local d = split(recorded)
  if d[1] ~= 'open' then return redis.error_reply('SETTLED this attempt has ended') end
  if redis.call('HGET', KEYS[4], d[2]) then return answer(d) end
end

local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
lapse_leases(KEYS[6], KEYS[3], now, 64)
local hot = redis.call('HGETALL', KEYS[3])
if #hot == 0 then return { 'EMPTY', seq, now } end

local model, tried, thresholds = {}, {}, {}
local rows = redis.call('HGETALL', KEYS[8])
for i = 1, #rows, 2 do model[rows[i]] = rows[i + 1] end
for id in string.gmatch(ARGV[6], '[^ ]+') do tried[id] = true end
local floors = redis.call('HGET', KEYS[10], ARGV[5])
if floors then
  for id, fraction in string.gmatch(floors, '([^ =]+)=([^ ]+)') do thresholds[id] = tonumber(fraction) end
end

local s = load_settings(KEYS[2], ARGV[3], ARGV[4])
local round_robin = s['strategy'] == 'round-robin'
local chosen, pool
if round_robin then
  chosen, pool = choose_next(hot, model, tried, now, tonumber(redis.call('HGET', KEYS[1], 'cursor') or nil))
else
  chosen, pool = choose_hybrid(hot, model, thresholds, tried, now, s)
end

local code = 'OK'
if not chosen then
  if pool.enabled == 0 then return { 'NO_ENABLED', seq, now } end
  if pool.valid == 0 then
    local reasons = {}
    for _, letter in ipairs({ 'r', 'b', 'v' }) do
      if pool.reasons[letter] then reasons[#reasons + 1] = REASONS[letter] end
    end
    return { 'ALL_INVALID', seq, now, table.concat(reasons, ' ') }
  end
  local most = tonumber(ARGV[8])
  if most < 0 or pool.wait <= most or not pool.probe or lock_state(KEYS[9], now) then
    return { 'WAIT', seq, now, pool.wait, pool.why }
  end
  chosen, code = pool.probe, 'PROBE'
  chosen.throttle = 0
  take_lock(KEYS[9], ARGV[1], s['probeMs'], now)
end

local a = read_hot(chosen.hot)
if chosen.takes then take_token(a, now, s) end
a.lu = now
a.n = a.n + 1
write_hot(KEYS[3], chosen.id, a)
if round_robin then redis.call('HSET', KEYS[1], 'cursor', chosen.seq) end
redis.call('ZADD', KEYS[6], now + tonumber(ARGV[2]), chosen.id .. '/' .. ARGV[1])
local tier = code == 'PROBE' and 'probe' or TIERS[chosen.tier]
local d = { 'open', chosen.id, a.cv, code, tier, chosen.throttle, chosen.tried and 1 or 0, chosen.takes and 1 or 0, seq,
  now, a.n }
redis.call('SET', KEYS[7], table.concat(d, '\31'), 'PX', 900000)
return answer(d)
