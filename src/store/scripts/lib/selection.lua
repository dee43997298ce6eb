-- The choice of an account. Usable = enabled, valid, not cooling, not limited for the model, with room for one more
-- request. Of the usable accounts the one with the lowest tier wins, then the highest score, then the first in order.
-- Accounts this request tried count only when no other is usable. Here accounts are known by their numbers: to read all
-- ids as well costs as much as to choose.

-- What is read of each account's record: by round-robin, by sticky, by hybrid; and of what is known of the model.
local SCAN_PLAIN, SCAN_STICKY, SCAN_HYBRID, SCAN_LIMITS = '<Bddd', '<Bdddddddd', '<Bddddddddddd', '<Bddd'
local TIERS = { 'normal', 'quota', 'emergency', 'lastResort' }
-- When a busy account has room again nobody knows; asking once a second does no harm.
local BUSY_MS = 1000
-- Larger pools are looked at in windows of so many accounts. Round-robin, which stops at the first that fits, looks at few
-- and, while none of them fits, at four times as many.
local EXACT, WINDOW, FEW, CHUNK = 200, 100, 2, 128

-- What was learnt of the accounts that were looked at.
local function new_pool()
  return { enabled = 0, valid = 0, damaged = 0, reasons = {}, why = '' }
end

-- For who wants to be told of every account.
local function note(view, id, seq, verdict, wait)
  local row = { id = id, seq = seq, verdict = verdict, wait = wait or 0, parts = {} }
  view.witness[#view.witness + 1] = row
  return row
end

-- How long the account must be waited for, and why; nil when it is usable.
local function obstacle(view, n, cool, rl, why)
  local now, most, ramp = view.now, view.most, view.ramp
  if rl > now or cool > now then
    if rl > cool then return rl - now, WHY[why] end
    return cool - now, 'cooling'
  end
  if most > 0 and n >= most then return BUSY_MS, 'busy' end
  -- A limit that ended is tried with one request, then with a few: not by everybody who waited for it.
  if why == 0 and rl > 0 and now - rl < ramp and n > math.floor(3 * (now - rl) / ramp) then
    return math.min(ramp, math.ceil(n * ramp / 3)) - (now - rl), 'recovering'
  end
  return nil
end

-- Notes an account that must be waited for.
local function put_off(view, pool, seq, n, cool, rl, why, wait, reason)
  if not pool.wait or wait < pool.wait or (wait == pool.wait and seq < pool.first) then
    pool.wait, pool.why, pool.first = wait, reason, seq
  end
  local free = math.max(rl, cool)
  if free > view.now and not (view.tried and view.tried[seq]) and (view.most == 0 or n < view.most)
      and (not pool.probe or free < pool.probe.free or (free == pool.probe.free and seq < pool.probe.seq)) then
    pool.probe = { seq = seq, free = free, throttle = 0 }
  end
  if rl > view.now then pool.limited, pool.limited_why = rl - view.now, WHY[why] end
end

-- Whether the account numbered `seq` comes before the leader, in the order that begins behind `view.place`.
local function sooner(view, seq, leader)
  local place, other = view.place, leader.seq
  if (seq > place) == (other > place) then return seq < other end
  return seq > place
end

-- Begins the comparison: nobody leads, neither among the accounts that were not tried nor among the others.
local function no_leaders(view)
  view.best, view.again = { tier = 9 }, { tier = 9, tried = true }
end

local function leader_of(view)
  return view.best.seq and view.best or view.again.seq and view.again or nil
end

-- The quota threshold an account has of its own, for the model or for all; -1: none.
local function own_threshold(view, seq, text)
  if not view.thresholds then
    view.thresholds = {}
    for number, fraction in string.gmatch(redis.call('HGET', view.floors, view.name) or '', '([^ =]+)=([^ ]+)') do
      view.thresholds[tonumber(number)] = tonumber(fraction)
    end
  end
  return view.thresholds[seq] or read_hot(text).th
end

-- One pass over accounts' records; the best goes into `view.best`, of those tried before into `view.again`. One that
-- cannot be read, or that `view.served` lacks, is passed over: a damaged account must not stop the others. `ids` are theirs, if there is a witness.
-- The loop is what an admission costs; hence its few calls and tables.
local function scan(view, pool, hots, ids)
  local s, now, last, witness = view.s, view.now, view.last, view.witness
  local most, ramp, plain, buckets = view.most, view.ramp, view.plain, view.buckets
  local tried, format = view.tried, plain and SCAN_PLAIN or buckets and SCAN_HYBRID or SCAN_STICKY
  local critical, spared = s['quota.critical'], s['globalQuotaThreshold']
  if spared == 0 then spared = critical end
  local health0, tokens0, full = s['health.initial'], s['bucket.initial'], s['bucket.max']
  local max_health, recovery, refill = s['health.maxScore'], s['health.recoveryPerHour'] / 3600000,
    s['bucket.perMinute'] / 60000
  local min_health, stale, unknown = s['health.minUsable'], s['quota.staleMs'], s['quota.unknownScore']
  local wh, wt, wq, wl, wn, wa = s['weights.health'], s['weights.tokens'] * 100 / full, s['weights.quota'],
    s['weights.lru'] / 1000, s['weights.inFlight'], s['weights.affinity']
  local unpacked, valid, invalid, best, again = struct.unpack, 0, 0, view.best, view.again
  local damaged, served, pages, model = string.rep('\0', HOT_BYTES), view.served, view.pages, view.model
  for at = 1, #hots do
    local text = hots[at]
    if not text or #text ~= HOT_BYTES then text = damaged end
    -- What the format leaves out, of the last, means nothing.
    local state, seq, n, cool, h, hat, qg, qat, c, lu, tok, tokat = unpacked(format, text)
    local place = seq % PAGE
    local page = pages[seq - place]
    if not page then
      page = read_page(model, seq)
      pages[seq - place] = page
    end
    local why, rl, fraction, generation = unpacked(SCAN_LIMITS, page, place * MODEL_BYTES + 1)
    local wait, reason
    state, why = state - HOT_LAYOUT, why - MODEL_LAYOUT
    if why < 0 or why > #WHY then why, rl, fraction = 0, 0, -1 end
    local own = state >= 16
    if own then state = state - 16 end
    if state < 0 or state > 15 or served and not served[seq] then
      pool.damaged = pool.damaged + 1
      if witness then note(view, ids[at], 0, 'damaged') end
    elseif state > 0 then
      if state < 8 then
        invalid = invalid + 1
        pool.reasons[state] = true
      end
      if witness then note(view, ids[at], seq, REASONS[state] or 'disabled') end
    else
      valid = valid + 1
      -- Behind a limit, and the clock stepped back since.
      if why == 0 and rl > now then rl = now end
      if cool > now or most > 0 or now - rl < ramp then wait, reason = obstacle(view, n, cool, rl, why) end
      if wait then
        put_off(view, pool, seq, n, cool, rl, why, wait, reason)
        if witness then note(view, ids[at], seq, reason, wait) end
      else
        local tier, score, health, tokens, quota, rest = 1, 0, health0, tokens0, unknown, 0
        if not plain then
          if h >= 0 then
            if now > hat then h = h + (now - hat) * recovery end
            health = h < max_health and h or max_health
          end
          if fraction >= 0 and generation == qg then
            quota = fraction * 100
            if qat > 0 and now - qat < stale then
              local floor = own and own_threshold(view, seq, text) or -1
              if fraction <= (floor > 0 and floor or floor < 0 and spared or critical) then tier = 2 end
            else
              quota = quota * 0.9
            end
          end
          if health < min_health then tier = 3 end
          if buckets then
            -- Hybrid (`dispatch.md` §5.4).
            if tok >= 0 then
              if now > tokat then tok = tok + (now - tokat) * refill end
              tokens = tok < full and tok or full
            end
            if tokens < 1 then tier = 4 end
            rest = now - lu
            if rest < 0 then rest = 0 elseif rest > 3600000 then rest = 3600000 end
            score = health * wh + tokens * wt + quota * wq + rest * wl - n * wn
            if seq == last then score = score + wa end
          else
            -- Sticky: the fewest conversations, then the fewest requests in flight.
            score = -c - n / 1e6
          end
        end
        local leader = tried and tried[seq] and again or best
        if tier < leader.tier
            or (tier == leader.tier and (score > leader.score or (score == leader.score and sooner(view, seq, leader)))) then
          leader.seq, leader.tier, leader.score, leader.text, leader.ended = seq, tier, score, text, why > 0 and rl
        end
        if witness then
          local told = note(view, ids[at], seq, tried and tried[seq] and 'tried' or 'usable')
          told.tier, told.score, told.health, told.tokens, told.n, told.c = tier, score, health, tokens, n, c
          if buckets then
            told.parts = { health * wh, tokens * wt, quota * wq, rest * wl, 0 - n * wn, seq == last and wa or 0 }
          end
        end
      end
    end
  end
  pool.enabled, pool.valid = pool.enabled + valid + invalid, pool.valid + valid
end

-- Looks at some accounts, at most as many as Lua unpacks.
local function scan_some(view, pool, ids)
  if #ids > 0 then scan(view, pool, redis.call('HMGET', view.hot, unpack(ids)), ids) end
end

-- The accounts in order, `count` of them behind the first `from`, as in a ring.
local function ring(view, from, count)
  local ids = redis.call('ZRANGE', view.roster, from, from + count - 1)
  if #ids < count then
    for _, id in ipairs(redis.call('ZRANGE', view.roster, 0, count - #ids - 1)) do ids[#ids + 1] = id end
  end
  return ids
end

-- Looks at every account; in a large pool at a window of it, if that is enough. Each admission moves the window on, so
-- that each account is looked at equally often; the conversation's last account is looked at wherever it stands.
local function scan_pool(view)
  if view.total > EXACT then
    local from = tonumber(redis.call('HGET', view.meta, 'window') or 0) % view.total
    local ids, seen = ring(view, from, WINDOW), not view.last
    view.window = (from + WINDOW) % view.total
    for i = 1, #ids do seen = seen or ids[i] == view.last_id end
    if not seen then ids[#ids + 1] = view.last_id end
    local pool = new_pool()
    scan_some(view, pool, ids)
    if view.best.seq then return pool end
    if view.witness then view.witness = {} end
  end
  local pool = new_pool()
  scan(view, pool, redis.call('HVALS', view.hot), view.witness and redis.call('HKEYS', view.hot))
  return pool
end

-- Hybrid: by tier and score.
local function choose_hybrid(view)
  local s = view.s
  view.buckets = true
  local pool = scan_pool(view)
  local chosen = leader_of(view)
  if chosen then
    chosen.throttle = chosen.tier == 3 and s['throttle.emergencyMs']
      or chosen.tier == 4 and s['throttle.lastResortMs'] or 0
    chosen.takes = chosen.tier < 4
  end
  return chosen, pool
end

-- Round-robin: the next usable account behind the cursor, which is the number of the account chosen last. Without
-- one, or when it stood at the end and was removed, the oldest account counts as chosen last.
local function choose_next(view, cursor)
  if not cursor or #redis.call('ZRANGEBYSCORE', view.roster, cursor, '+inf', 'LIMIT', 0, 1) == 0 then
    cursor = tonumber(redis.call('ZRANGE', view.roster, 0, 0, 'WITHSCORES')[2])
  end
  view.plain, view.place = true, cursor
  local pool, from, looked = new_pool(), view.total - redis.call('ZCOUNT', view.roster, '(' .. cursor, '+inf'), 0
  local most = FEW
  repeat
    local count = math.min(most, view.total - looked)
    scan_some(view, pool, ring(view, (from + looked) % view.total, count))
    looked, most = looked + count, math.min(4 * most, CHUNK)
  until looked == view.total or (view.best.seq and not view.witness)
  return leader_of(view), pool
end

-- Sticky: the account that has the conversation while it is usable; else the least loaded of the lowest tier, of
-- equals the next one in order.
local function choose_sticky(view)
  local last, witness, own = view.last, view.witness, new_pool()
  local kept, waits = nil, false
  if last then
    view.plain, view.witness = true, nil
    scan_some(view, own, { view.last_id })
    kept = view.best.seq and view.best
    waits = own.wait and own.wait <= view.s['sticky.waitMs'] and not (view.tried and view.tried[last])
    own.probe, own.own = nil, true
    if (kept or waits) and not witness then return kept, own end
    view.plain, view.witness, view.place = false, witness, last
    no_leaders(view)
  end
  local pool = scan_pool(view)
  if kept or waits then return kept, own end
  local chosen = leader_of(view)
  -- As the reference waits: for the account that has the conversation, even where another is free sooner.
  if not chosen and own.limited and own.limited <= view.patience then
    pool.wait, pool.why, pool.probe, pool.own = own.limited, own.limited_why, nil, true
  end
  return chosen, pool
end
