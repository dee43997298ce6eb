-- script: add_key
-- purpose: puts an encryption key on the pool's list, with a text sealed by it, for one who has all keys that are on it
-- KEYS[1] meta: sequence
-- KEYS[2] vault: key id -> a text sealed by that key
-- ARGV[1] id: key
-- ARGV[2] sealed: the text
-- ARGV[3] ring: ids of the keys that the caller has, space between
-- ARGV[4] now: ms since the epoch, empty for the store's own time
-- reply: {OK|KNOWN, seq, now}; the text of a known key stays | {FOREIGN, seq, now, id of a key the caller lacks}
-- complexity: O(keys)
-- durability: fsync
local now = clock(ARGV[4])
local known = redis.call('HKEYS', KEYS[2])
table.sort(known)
for _, id in ipairs(known) do
  if not string.find(' ' .. ARGV[3] .. ' ', ' ' .. id .. ' ', 1, true) then
    return { 'FOREIGN', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now, id }
  end
end
if redis.call('HGET', KEYS[2], ARGV[1]) then
  return { 'KNOWN', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return { 'OK', seq, now }
