-- An account's record in the HASH `hot`, layout 2: all that selection reads and settlement writes, packed so that
-- one call reads it, in such an order that each strategy reads no more than it needs. A byte, 64 (the layout) and its
-- state: 0 or a position in REASONS, 8 more when disabled, 16 more when it has thresholds of its own. Then
-- little-endian doubles: number; live leases; cooling until; health (-1: initial) and its time; quota generation and
-- its time; live conversations; last used; bucket (-1: initial) and its time; threshold (-1: none); credential version;
-- consecutive failures and the time of the last.
local HOT, HOT_BYTES, HOT_LAYOUT = '<Bddddddddddddddd', 121, 64

local REASONS = { 'revoked', 'banned', 'verification' }
local REASON_CODES = { revoked = 1, banned = 2, verification = 3 }

-- Whether the record can be read.
local function is_hot(text)
  return text and #text == HOT_BYTES and string.byte(text) - string.byte(text) % 32 == HOT_LAYOUT
end

local function read_hot(text)
  if not is_hot(text) then error('hot record of unknown layout') end
  local a, head = {}, nil
  head, a.seq, a.n, a.cool, a.h, a.hat, a.qg, a.qat, a.c, a.lu, a.tok, a.tokat, a.th, a.cv, a.cf, a.cfat =
    struct.unpack(HOT, text)
  a.inv, a.en, a.own = head % 8, head % 16 < 8 and 1 or 0, head % 32 >= 16
  return a
end

local function write_hot(key, id, a)
  local head = HOT_LAYOUT + a.inv + (a.en == 1 and 0 or 8) + (a.own and 16 or 0)
  redis.call('HSET', key, id, struct.pack(HOT, head, a.seq, a.n, a.cool, a.h, a.hat, a.qg, a.qat, a.c, a.lu, a.tok,
    a.tokat, a.th, a.cv, a.cf, a.cfat))
end

local function new_hot(seq)
  return {
    seq = seq, en = 1, inv = 0, n = 0, c = 0, cool = 0, lu = 0, h = -1, hat = 0, tok = -1, tokat = 0,
    th = -1, qg = 0, qat = 0, cv = 1, cf = 0, cfat = 0,
  }
end

-- A threshold as callers write it (`-` removes, empty keeps; `models` has those per model), and as they read it.
local function change_threshold(a, value, models)
  if value == '-' then a.th = -1 elseif value ~= '' then a.th = tonumber(value) end
  a.own = a.th >= 0 or models ~= ''
end

local function threshold_of(a)
  return a.th < 0 and '' or exact(a.th)
end

-- Marks the account invalid when the verdict is about the credential it has now.
local function invalidate(hot, inv, id, a, cv, reason, url, now)
  if a.cv ~= cv or a.inv ~= 0 then return false end
  a.inv = REASON_CODES[reason]
  write_hot(hot, id, a)
  redis.call('HSET', inv, id, now .. '\31' .. url)
  return true
end
