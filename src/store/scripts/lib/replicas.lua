-- A replica's record in the HASH `replicas`, layout 1: layout, ends at (ms), version, digest of its scripts, host
-- name, started at (ms), requests in flight, generation of settings it works with, state (serving or draining),
-- seen at (ms), ids of its encryption keys (newest first, space between). Later layouts append only, so that replicas of two versions read each other.
local function read_replica(text)
  local f = split(text)
  return {
    ends = tonumber(f[2]), version = f[3], scripts = f[4], host = f[5], started = tonumber(f[6]),
    in_flight = tonumber(f[7]), generation = tonumber(f[8]), state = f[9], seen = tonumber(f[10]), keys = f[11] or '',
  }
end

-- All replicas by id, and their ids in order.
local function read_replicas(key)
  local rows, ids, replicas = redis.call('HGETALL', key), {}, {}
  for i = 1, #rows, 2 do
    ids[#ids + 1] = rows[i]
    replicas[rows[i]] = read_replica(rows[i + 1])
  end
  table.sort(ids)
  return ids, replicas
end
