-- script: announce_replica
-- purpose: makes a replica known or renews it, and drops those that stopped renewing themselves
-- KEYS[1] meta: sequence
-- KEYS[2] replicas: records of replicas
-- KEYS[3] vault: key id -> a text sealed by that key
-- ARGV[1] id: replica
-- ARGV[2] ttl_ms: how long it is known from now on
-- ARGV[3] version: of its program
-- ARGV[4] scripts: digest of its scripts
-- ARGV[5] host: name of its machine
-- ARGV[6] uptime_ms: how long it has been running
-- ARGV[7] in_flight: requests in flight
-- ARGV[8] generation: of the settings it works with
-- ARGV[9] state: serving or draining
-- ARGV[10] keys: ids of its encryption keys, the one that seals first, space between
-- ARGV[11] channel: of events
-- ARGV[12] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, joined 0|1, replicas known now, 1 when the pool's list has the key that seals, else 0, then per replica that lapsed 2 values: id, host}
-- complexity: O(replicas * log replicas)
-- durability: periodic
local now = clock(ARGV[12])
local id = ARGV[1]
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local ids, replicas = read_replicas(KEYS[2])
local sealing = string.match(ARGV[10], '^[^ ]+')
local listed = not sealing or redis.call('HGET', KEYS[3], sealing)
local reply = { 'OK', seq, now, 0, 0, listed and 1 or 0 }
local known = 1
for _, other in ipairs(ids) do
  if replicas[other].ends <= now then
    redis.call('HDEL', KEYS[2], other)
    -- Late, not gone: it is here again in the same moment.
    if other ~= id then
      redis.call('PUBLISH', ARGV[11], 'replica ' .. other .. ' ' .. seq)
      reply[#reply + 1] = other
      reply[#reply + 1] = replicas[other].host
    end
  elseif other ~= id then
    known = known + 1
  end
end
local mine = replicas[id]
redis.call('HSET', KEYS[2], id, table.concat({
  '1', now + tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], mine and mine.started or now - tonumber(ARGV[6]), ARGV[7],
  ARGV[8], ARGV[9], now, ARGV[10],
}, '\31'))
if not mine then
  reply[4] = 1
  redis.call('PUBLISH', ARGV[11], 'replica ' .. id .. ' ' .. seq)
end
reply[5] = known
return reply
