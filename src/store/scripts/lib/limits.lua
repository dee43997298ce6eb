-- What is known of accounts and a model, in the HASH `m:<model>`: a field per PAGE account numbers, named by the first
-- of them, holds their records one behind the other, so that a few reads bring a whole pool's. Numbers are never given
-- again. A record, layout 2: a byte, 0 when nothing is known, else 64 (the layout) and why it is limited (a position in
-- WHY, 0: never, or tried since the limit ended). Then little-endian doubles: limit until; remaining fraction (-1:
-- unknown) and the quota generation it belongs to; limit set at; 429s counted and the last one's time; quota escalation.
local MODEL, MODEL_BYTES, MODEL_LAYOUT, PAGE = '<Bddddddd', 57, 64, 32

local WHY = { 'quota', 'rate', 'unknown', 'capacity', 'failure', 'forbidden', 'unsupported' }
local WHY_CODES = { quota = 1, rate = 2, unknown = 3, capacity = 4, failure = 5, forbidden = 6, unsupported = 7 }

-- The page of the account's number. One that is damaged is as good as lost: what it held is learnt anew.
local function read_page(key, seq)
  local page = redis.call('HGET', key, seq - seq % PAGE)
  if page and #page == PAGE * MODEL_BYTES then return page end
  return string.rep('\0', PAGE * MODEL_BYTES)
end

local function write_page(key, seq, page, record)
  local at = seq % PAGE * MODEL_BYTES
  page = string.sub(page, 1, at) .. record .. string.sub(page, at + MODEL_BYTES + 1)
  redis.call('HSET', key, seq - seq % PAGE, page)
end

local function record_of(page, seq)
  local m, head = {}, nil
  head, m.rl, m.frac, m.qg, m.rlat, m.bn, m.bat, m.qn = struct.unpack(MODEL, page, seq % PAGE * MODEL_BYTES + 1)
  m.why = head - MODEL_LAYOUT
  if m.why < 0 or m.why > #WHY then return { rl = 0, why = 0, frac = -1, qg = 0, rlat = 0, bn = 0, bat = 0, qn = 0 } end
  return m
end

local function read_model(key, seq)
  return record_of(read_page(key, seq), seq)
end

local function pack_model(m)
  return struct.pack(MODEL, MODEL_LAYOUT + m.why, m.rl, m.frac, m.qg, m.rlat, m.bn, m.bat, m.qn)
end

-- Writes the record; the whole key is forgotten two days after it last mattered.
local function write_model(key, seq, m, now)
  write_page(key, seq, read_page(key, seq), pack_model(m))
  local keep = math.max(172800000, m.rl - now)
  if redis.call('PTTL', key) < keep then redis.call('PEXPIRE', key, keep + 3600000) end
end

-- Nothing is known any more.
local function forget_model(key, seq)
  if redis.call('HGET', key, seq - seq % PAGE) then
    write_page(key, seq, read_page(key, seq), string.rep('\0', MODEL_BYTES))
  end
end

-- The first admission behind a limit, if others may have waited for it: recovery begins.
local function begin_recovery(key, seq, now)
  local m = read_model(key, seq)
  m.rl, m.why = now, 0
  write_model(key, seq, m, now)
end

-- A limit is only ever extended.
local function extend_limit(m, now, ms, why)
  m.rlat = now
  if now + ms > m.rl then
    m.rl = now + ms
    m.why = WHY_CODES[why]
  end
end
