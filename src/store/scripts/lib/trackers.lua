-- Health and token bucket of an account: absent until first changed, refilled by time.
local function health_of(a, now, s)
  if not a.h then return s['health.initial'] end
  return math.min(s['health.maxScore'], a.h + elapsed(now, a.hat) / 3600000 * s['health.recoveryPerHour'])
end

local function change_health(a, now, s, delta)
  a.h = math.max(0, math.min(s['health.maxScore'], health_of(a, now, s) + delta))
  a.hat = now
end

local function tokens_of(a, now, s)
  if not a.tok then return s['bucket.initial'] end
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
