-- script: put_client
-- purpose: adds a client key, unless one in force has its name; where there are too many, the one that was revoked
--    first is forgotten
-- KEYS[1] meta: sequence, generations and number of the newest record
-- KEYS[2] keys: client key records
-- KEYS[3] keyuse: when each was used last
-- KEYS[4] audit: records of operators
-- ARGV[1] id: new
-- ARGV[2] name: of its person or machine
-- ARGV[3] digest: SHA-256 of the secret, hex
-- ARGV[4] expires: ms since the epoch, or `+` and ms from now; empty for never
-- ARGV[5] models: that it may use, space between; empty for all
-- ARGV[6] most: client keys there may be
-- ARGV[7] channel: of events
-- ARGV[8] row: for the audit trail; empty for none
-- ARGV[9] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, generation} | {TAKEN, seq, now} | {FULL, seq, now}
-- complexity: O(client keys)
-- durability: fsync
local now = clock(ARGV[9])
local current = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local records = redis.call('HGETALL', KEYS[2])
if client_named(records, ARGV[2]) then return { 'TAKEN', current, now } end
if #records / 2 >= tonumber(ARGV[6]) then
  local oldest, since
  for i = 1, #records, 2 do
    local fields = read_client(records[i + 1])
    local revoked = fields and tonumber(fields[7])
    if revoked and (not since or revoked < since or revoked == since and records[i] < oldest) then
      oldest, since = records[i], revoked
    end
  end
  if not oldest then return { 'FULL', current, now } end
  redis.call('HDEL', KEYS[2], oldest)
  redis.call('HDEL', KEYS[3], oldest)
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('HSET', KEYS[2], ARGV[1], table.concat({
  '1', ARGV[2], ARGV[3], exact(now), ending(ARGV[4], now), ARGV[5], '', '', '',
}, '\31'))
local generation = clients_changed(KEYS[1], ARGV[7], seq)
audit(KEYS[1], KEYS[4], ARGV[8], seq, now, generation, '', '')
return { 'OK', seq, now, generation }
