-- script: change_client
-- purpose: renames, limits, rotates or revokes a client key that is in force
-- KEYS[1] meta: sequence, generations and number of the newest record
-- KEYS[2] keys: client key records
-- KEYS[3] audit: records of operators
-- ARGV[1] id: client key
-- ARGV[2] name: new one, empty keeps
-- ARGV[3] expires: ms since the epoch, or `+` and ms from now; `-` for never, empty keeps
-- ARGV[4] models: space between; `-` for all, empty keeps
-- ARGV[5] digest: of a new secret, empty keeps
-- ARGV[6] grace_ms: how long the secret before stays good beside a new one
-- ARGV[7] revoke: 1 revokes
-- ARGV[8] channel: of events
-- ARGV[9] row: for the audit trail; empty for none
-- ARGV[10] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, generation} | {NONE, seq, now} | {REVOKED, seq, now} | {TAKEN, seq, now}
-- complexity: O(client keys)
-- durability: fsync
local now = clock(ARGV[10])
local current = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local fields = read_client(redis.call('HGET', KEYS[2], ARGV[1]))
if not fields then return { 'NONE', current, now } end
if fields[7] ~= '' then return { 'REVOKED', current, now } end
local was = table.concat({ 'name', fields[2], 'expiresAt', fields[5], 'models', fields[6] }, '\30')
if ARGV[2] ~= '' then
  local other = client_named(redis.call('HGETALL', KEYS[2]), ARGV[2])
  if other and other ~= ARGV[1] then return { 'TAKEN', current, now } end
  fields[2] = ARGV[2]
end
if ARGV[3] ~= '' then fields[5] = ARGV[3] == '-' and '' or ending(ARGV[3], now) end
if ARGV[4] ~= '' then fields[6] = ARGV[4] == '-' and '' or ARGV[4] end
if ARGV[5] ~= '' then
  fields[8], fields[9] = fields[3], exact(now + tonumber(ARGV[6]))
  fields[3] = ARGV[5]
end
if ARGV[7] == '1' then fields[7] = exact(now) end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('HSET', KEYS[2], ARGV[1], table.concat(fields, '\31'))
local generation = clients_changed(KEYS[1], ARGV[8], seq)
audit(KEYS[1], KEYS[3], ARGV[9], seq, now, generation, fields[2], was)
return { 'OK', seq, now, generation }
