-- An account's record in the HASH `m:<model>`, layout 1: limit until, set at, why; 429s counted and the
-- last one's time; quota escalation; remaining fraction and the quota generation it belongs to.
local MODEL = '^1|(%d+)|(%d+)|(%a*)|(%d+)|(%d+)|(%d+)|([^|]*)|(%d+)$'

local function read_model(text)
  if not text then
    return { rl = 0, rlat = 0, why = '', bn = 0, bat = 0, qn = 0, frac = '', qg = 0 }
  end
  local rl, rlat, why, bn, bat, qn, frac, qg = string.match(text, MODEL)
  if not rl then error('model record of unknown layout') end
  return {
    rl = tonumber(rl), rlat = tonumber(rlat), why = why, bn = tonumber(bn), bat = tonumber(bat),
    qn = tonumber(qn), frac = frac, qg = tonumber(qg),
  }
end

local function pack_model(m)
  return table.concat({ '1', m.rl, m.rlat, m.why, m.bn, m.bat, m.qn, m.frac, m.qg }, '|')
end

-- The record of an account of which nothing is known.
local NO_LIMITS = '1|0|0||0|0|0||0'

-- Writes the record; the whole key is forgotten two days after it last mattered.
local function write_model(key, id, m, now)
  redis.call('HSET', key, id, pack_model(m))
  local keep = math.max(172800000, m.rl - now)
  if redis.call('PTTL', key) < keep then redis.call('PEXPIRE', key, keep + 3600000) end
end

-- A limit is only ever extended.
local function extend_limit(m, now, ms, why)
  m.rlat = now
  if now + ms > m.rl then
    m.rl = now + ms
    m.why = why
  end
end
