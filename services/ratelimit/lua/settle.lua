-- Settles a request whose charges are on several nodes: what becomes of its receipt, if nobody else has settled it.
--
-- KEYS[1]  The receipt.
-- ARGV[1]  What it says while the request is charged.
-- ARGV[2]  What it is to say from now on. Nothing: it is forgotten.
-- ARGV[3]  How long it is kept then, in milliseconds.
--
-- Result: nil if it was settled so, else what the receipt says, which is nothing if there is none.

local kept = redis.call('GET', KEYS[1])
if kept ~= ARGV[1] then
  return kept or ''
elseif ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return false
