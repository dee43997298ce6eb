-- Health and token bucket of an account: initial until first changed, refilled by time.
local function health_of(a, now, s)
  if a.h < 0 then return s['health.initial'] end
  return math.min(s['health.maxScore'], a.h + elapsed(now, a.hat) / 3600000 * s['health.recoveryPerHour'])
end

local function change_health(a, now, s, delta)
  a.h = math.max(0, math.min(s['health.maxScore'], health_of(a, now, s) + delta))
  a.hat = now
end

local function tokens_of(a, now, s)
  if a.tok < 0 then return s['bucket.initial'] end
  return math.min(s['bucket.max'],
    a.tok + elapsed(now, a.tokat) / 60000 * s['bucket.perMinute'])
end

local function take_token(a, now, s)
  a.tok = tokens_of(a, now, s) - 1
  a.tokat = now
end

local function refund_token(a, now, s)
  a.tok = math.min(s['bucket.max'], tokens_of(a, now, s) + 1)
  a.tokat = now
end

-- Whether one request less on the account makes room for another: it was at its bound.
local function makes_room(a, s)
  return s['maxConcurrentPerAccount'] > 0 and a.n >= s['maxConcurrentPerAccount']
end
