-- script: list_keys
-- purpose: the encryption keys that the pool knows: those that are on its list, each with a text sealed by it, and
--    those by which credentials are sealed
-- KEYS[1] meta: sequence
-- KEYS[2] vault: key id -> a text sealed by that key
-- KEYS[3] cred: sealed credentials
-- ARGV[1] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now, then per key 3 values: id, sealed text or empty, credentials sealed by it}
-- complexity: O(accounts)
-- durability: periodic
local now = clock(ARGV[1])
local reply = { 'OK', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
local counts, ids = count_keys(KEYS[3]), {}
for id in pairs(counts) do ids[#ids + 1] = id end
for _, id in ipairs(redis.call('HKEYS', KEYS[2])) do
  if not counts[id] then ids[#ids + 1] = id end
end
table.sort(ids)
for _, id in ipairs(ids) do
  reply[#reply + 1] = id
  reply[#reply + 1] = redis.call('HGET', KEYS[2], id) or ''
  reply[#reply + 1] = counts[id] or 0
end
return reply
