-- An account's record in the HASH `hot`, layout 1: all that selection reads and settlement writes.
-- seq; enabled 0|1 and validity o(k) r(evoked) b(anned) v(erification); live leases; cooling until;
-- last used; health and its time; bucket and its time; threshold; quota generation and its time;
-- credential version; consecutive failures and the time of the last.
local HOT = '^1|(%d+)|(%d)(%a)|(%d+)|(%d+)|(%d+)|([^|]*)|(%d+)|([^|]*)|(%d+)|([^|]*)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)$'

local function read_hot(text)
  local seq, en, inv, n, cool, lu, h, hat, tok, tokat, th, qg, qat, cv, cf, cfat = string.match(text, HOT)
  if not seq then error('hot record of unknown layout') end
  return {
    seq = tonumber(seq), en = en, inv = inv, n = tonumber(n), cool = tonumber(cool), lu = tonumber(lu),
    h = tonumber(h), hat = tonumber(hat), tok = tonumber(tok), tokat = tonumber(tokat), th = th,
    qg = tonumber(qg), qat = tonumber(qat), cv = tonumber(cv), cf = tonumber(cf), cfat = tonumber(cfat),
  }
end

local function write_hot(key, id, a)
  redis.call('HSET', key, id, table.concat({
    '1', a.seq, a.en .. a.inv, a.n, a.cool, a.lu, a.h and exact(a.h) or '', a.hat, a.tok and exact(a.tok) or '',
    a.tokat, a.th, a.qg, a.qat, a.cv, a.cf, a.cfat,
  }, '|'))
end

local function new_hot(seq, enabled, threshold)
  return {
    seq = seq, en = enabled, inv = 'o', n = 0, cool = 0, lu = 0, h = nil, hat = 0, tok = nil, tokat = 0,
    th = threshold, qg = 0, qat = 0, cv = 1, cf = 0, cfat = 0,
  }
end

local REASONS = { r = 'revoked', b = 'banned', v = 'verification' }
local REASON_LETTERS = { revoked = 'r', banned = 'b', verification = 'v' }

-- Marks the account invalid when the verdict is about the credential it has now.
local function invalidate(hot, inv, id, a, cv, reason, url, now)
  if a.cv ~= cv or a.inv ~= 'o' then return false end
  a.inv = REASON_LETTERS[reason]
  write_hot(hot, id, a)
  redis.call('HSET', inv, id, now .. '\31' .. url)
  return true
end
