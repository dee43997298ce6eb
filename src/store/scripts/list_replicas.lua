-- script: list_replicas
-- purpose: the replicas that are alive, by id
-- KEYS[1] meta: sequence
-- KEYS[2] replicas: records of replicas
-- ARGV[1] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, then per replica 10 values: id, version, digest of its scripts, host, started at (ms),
--    requests in flight, generation of settings, state, seen at (ms), ids of encryption keys}
-- complexity: O(replicas * log replicas)
-- durability: periodic
local now = clock(ARGV[1])
local reply = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
local ids, replicas = read_replicas(KEYS[2])
local n = #reply
for _, id in ipairs(ids) do
  local r = replicas[id]
  if r.ends > now then
    for i, value in ipairs({
      id, r.version, r.scripts, r.host, r.started, r.in_flight, r.generation, r.state, r.seen, r.keys,
    }) do
      reply[n + i] = value
    end
    n = n + 10
  end
end
return reply
