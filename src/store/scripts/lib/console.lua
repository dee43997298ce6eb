-- What the console's door is closed with: the HASH `console` has the password's hash (`hash`), and setup tokens by their
-- SHA-256, each with its end (ms). Every change of it is a new generation (`gen:console` in `meta`).
local function console_state(meta, key, known)
  local row = redis.call('HMGET', meta, 'seq', 'gen:console')
  local seq, generation = tonumber(row[1] or 0), tonumber(row[2] or 0)
  if tonumber(known) == generation then return seq, generation, 0, '' end
  return seq, generation, 1, redis.call('HGET', key, 'hash') or ''
end

-- A session's record in the HASH `sessions`, by the SHA-256 of its token, layout 1: 1 layout, 2 id, 3 begun at (ms),
-- 4 used at (ms, to the minute), 5 ends without use (ms), 6 ends (ms). Nil for one that is over, and for what cannot be
-- read: nobody gets in with it.
local function read_session(text, now)
  local session = text and split(text) or {}
  if session[1] ~= '1' or #session < 6 then return nil end
  if tonumber(session[5]) <= now or tonumber(session[6]) <= now then return nil end
  return session
end

-- Makes it known that sessions ended or the password changed.
local function console_changed(channel, generation, seq)
  redis.call('PUBLISH', channel, 'console ' .. generation .. ' ' .. seq)
end
