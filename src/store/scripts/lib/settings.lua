-- The settings scripts read, with their defaults (`dispatch.md` §8; times in ms, fractions 0-1).
local function default_settings()
  return {
    ['strategy'] = 'hybrid',
    ['maxAccounts'] = 0,
    ['globalQuotaThreshold'] = 0,
    ['health.initial'] = 70,
    ['health.minUsable'] = 50,
    ['health.maxScore'] = 100,
    ['health.successReward'] = 1,
    ['health.rateLimitPenalty'] = -10,
    ['health.failurePenalty'] = -20,
    ['health.emptyPenalty'] = 0,
    ['health.recoveryPerHour'] = 10,
    ['bucket.max'] = 50,
    ['bucket.initial'] = 50,
    ['bucket.perMinute'] = 6,
    ['quota.critical'] = 0.05,
    ['quota.staleMs'] = 300000,
    ['quota.unknownScore'] = 50,
    ['weights.health'] = 2,
    ['weights.tokens'] = 5,
    ['weights.quota'] = 3,
    ['weights.lru'] = 0.1,
    ['weights.inFlight'] = 0,
    ['weights.affinity'] = 0,
    ['maxConcurrentPerAccount'] = 0,
    ['recoveryRampMs'] = 1000,
    ['sticky.waitMs'] = 0,
    ['sticky.ttlMs'] = 3600000,
    ['throttle.emergencyMs'] = 0,
    ['throttle.lastResortMs'] = 0,
    ['defaultCooldownMs'] = 60000,
    ['rateLimitDedupWindowMs'] = 2000,
    ['rateLimitStateResetMs'] = 120000,
    ['maxConsecutiveFailures'] = 3,
    ['extendedCooldownMs'] = 60000,
    ['failureDecayMs'] = 600000,
    ['capacityLimitMs'] = 15000,
    ['forbiddenCooldownMs'] = 300000,
    ['notFoundCooldownMs'] = 300000,
    ['unauthorizedCooldownMs'] = 60000,
    ['probeMs'] = 15000,
  }
end

-- Takes over one value; what is unknown or not a sane number is ignored, so that a bad value can
-- never stop the pool.
local function set_setting(s, name, value)
  local default = s[name]
  if default == nil then return end
  if type(default) == 'string' then
    s[name] = value
    return
  end
  local number = tonumber(value)
  if number and number > -1e12 and number < 1e12 then
    -- Times are kept as whole milliseconds.
    if string.sub(name, -2) == 'Ms' then number = math.max(0, math.floor(number)) end
    s[name] = number
  end
end

-- Defaults < `base` (file) < HASH (shared) < `pinned` (environment, flags); both texts are lines `name=value`.
local function load_settings(key, base, pinned)
  local s = default_settings()
  for name, value in string.gmatch(base, '([^=\n]+)=([^\n]*)') do set_setting(s, name, value) end
  local shared = redis.call('HGETALL', key)
  for i = 1, #shared, 2 do set_setting(s, shared[i], shared[i + 1]) end
  for name, value in string.gmatch(pinned, '([^=\n]+)=([^\n]*)') do set_setting(s, name, value) end
  return s
end
