-- Stores a copy of a snippet, unless what is there is newer. One of the same version is replaced, as it was read later.
--
-- An entry begins with 20 characters: V for a copy or T for a tombstone, then the version in 19 decimal
-- digits. Numbers in Lua are exact up to 2^53, which no snippet is edited often enough to reach.
--
-- KEYS[1]  the snippet's key
-- ARGV[1]  the version of the copy, in decimal
-- ARGV[2]  the entry
-- ARGV[3]  for how long it is kept, in milliseconds
-- Result   1 when it was stored, 0 when it was refused: there is a copy or a tombstone of a newer version

local there = redis.call('GETRANGE', KEYS[1], 0, 19)
local version_there = tonumber(string.sub(there, 2))
if version_there and version_there > tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
