-- The choice of an account: one pass over the hot records. Usable = enabled, valid, not cooling, not
-- limited for the model. Accounts already tried count only when no other is usable.

local SCAN = '^1|(%d+)|(%d)(%a)|(%d+)|(%d+)|(%d+)|([^|]*)|(%d+)|([^|]*)|(%d+)|([^|]*)|(%d+)|(%d+)|'
local SCAN_MODEL = '^1|(%d+)|%d+|(%a*)|%d+|%d+|%d+|([^|]*)|(%d+)$'
local TIERS = { 'normal', 'quota', 'emergency', 'lastResort' }

-- Everything the pass learns. `pick(...)` sees each usable account.
local function scan_pool(hot, model, tried, now, pick)
  local pool = { total = #hot / 2, enabled = 0, valid = 0, reasons = {}, wait = nil, probe = nil, lowest = nil,
    highest = nil, why = '' }
  for i = 1, #hot, 2 do
    local id = hot[i]
    local seq, en, inv, n, cool, lu, h, hat, tok, tokat, th, qg, qat = string.match(hot[i + 1], SCAN)
    if not seq then error('hot record of unknown layout') end
    seq = tonumber(seq)
    if not pool.lowest or seq < pool.lowest then pool.lowest = seq end
    if not pool.highest or seq > pool.highest then pool.highest = seq end
    if en == '1' then
      pool.enabled = pool.enabled + 1
      if inv == 'o' then
        pool.valid = pool.valid + 1
        local free, why, fraction = tonumber(cool), 'cooling', nil
        local limits = model[id]
        if limits then
          local rl, reason, frac, generation = string.match(limits, SCAN_MODEL)
          if not rl then error('model record of unknown layout') end
          if tonumber(rl) > free then free, why = tonumber(rl), reason end
          if generation == qg then fraction = tonumber(frac) end
        end
        if free <= now then
          pick(id, seq, hot[i + 1], tonumber(n), tonumber(lu), tonumber(h), tonumber(hat), tonumber(tok),
            tonumber(tokat), tonumber(th), fraction, tonumber(qat))
        else
          local left = free - now
          if not pool.wait or left < pool.wait then pool.wait, pool.why = left, why end
          if not tried[id] and (not pool.probe or free < pool.probe.free
              or (free == pool.probe.free and seq < pool.probe.seq)) then
            pool.probe = { id = id, seq = seq, free = free, hot = hot[i + 1] }
          end
        end
      else
        pool.reasons[inv] = true
      end
    end
  end
  return pool
end

-- Hybrid (`dispatch.md` §5.4): the lowest tier, then the highest score, then the oldest account.
local function choose_hybrid(hot, model, thresholds, tried, now, s)
  local best, again = nil, nil
  local health0, tokens0, full, unknown = s['health.initial'], s['bucket.initial'], s['bucket.max'],
    s['quota.unknownScore']
  local max_health, recovery, refill = s['health.maxScore'], s['health.recoveryPerHour'], s['bucket.perMinute']
  local min_health, stale, global = s['health.minUsable'], s['quota.staleMs'], s['globalQuotaThreshold']
  local wh, wt, wq, wl, wn = s['weights.health'], s['weights.tokens'], s['weights.quota'], s['weights.lru'],
    s['weights.inFlight']
  local pool = scan_pool(hot, model, tried, now,
    function(id, seq, record, n, lu, h, hat, tok, tokat, th, fraction, qat)
      local health, tokens = health0, tokens0
      if h then health = math.min(max_health, h + elapsed(now, hat) / 3600000 * recovery) end
      if tok then tokens = math.min(full, tok + elapsed(now, tokat) / 60000 * refill) end
      local quota, critical = unknown, false
      if fraction then
        quota = fraction * 100
        if qat > 0 and elapsed(now, qat) < stale then
          local floor = thresholds[id] or th or global
          if floor <= 0 then floor = s['quota.critical'] end
          critical = fraction <= floor
        else
          quota = quota * 0.9
        end
      end
      local tier = 4
      if tokens >= 1 then
        tier = 3
        if health >= min_health then tier = critical and 2 or 1 end
      end
      local score = health * wh + tokens / full * 100 * wt + quota * wq
        + math.min(elapsed(now, lu), 3600000) / 1000 * wl
      if wn ~= 0 then score = score - n * wn end
      local seen = tried[id]
      local rival
      if seen then rival = again else rival = best end
      if not rival or tier < rival.tier
          or (tier == rival.tier and (score > rival.score or (score == rival.score and seq < rival.seq))) then
        rival = { id = id, seq = seq, hot = record, tier = tier, score = score, tried = seen }
        if seen then again = rival else best = rival end
      end
    end)
  local chosen = best or again
  if chosen then
    chosen.throttle = chosen.tier == 3 and s['throttle.emergencyMs']
      or chosen.tier == 4 and s['throttle.lastResortMs'] or 0
    chosen.takes = chosen.tier < 4
  end
  return chosen, pool
end

-- Round-robin: the next usable account behind the cursor, which is the number of the account chosen last.
-- Without one, or when it stood at the end and was removed, the oldest account counts as chosen last.
local function choose_next(hot, model, tried, now, cursor)
  local ids, seqs, records = {}, {}, {}
  local pool = scan_pool(hot, model, tried, now, function(id, seq, record)
    ids[#ids + 1], seqs[#seqs + 1], records[#records + 1] = id, seq, record
  end)
  if not cursor or cursor > pool.highest then cursor = pool.lowest end
  local best, again = nil, nil
  for i = 1, #ids do
    local behind = seqs[i] > cursor and seqs[i] - cursor or seqs[i] + pool.highest
    local seen = tried[ids[i]]
    local rival
    if seen then rival = again else rival = best end
    if not rival or behind < rival.behind then
      rival = { id = ids[i], seq = seqs[i], hot = records[i], tier = 1, throttle = 0, tried = seen, behind = behind }
      if seen then again = rival else best = rival end
    end
  end
  return best or again, pool
end
