-- Takes back what one request was charged, as far as it still counts. It comes after counters.lua.
--
-- KEYS     The counters of its charges, and then the receipt, if there is one.
-- ARGV[1]  What took slots.
-- ARGV[2i], ARGV[2i+1]  Of charge i: the counter's kind (B) and its parameters a, b and c; and the cost, when it was
--          charged, and reset_after as it was told then.
--
-- Result: 1 if it was given back; 0 where the receipt is gone, or was given back before.

-- Whether anything of the cost is left to take back.
local function subtract(counter, cost, charged_at, told_end)
  local kind, used = counter.kind, counter.used
  if kind == WINDOW then
    if counter.at == told_end then
      counter.used = max(used - cost, 0)
    end
  elseif kind == BUCKET then
    -- What has been refilled since the charge is back already.
    local elapsed = max(now - charged_at, 0)
    cost = cost * counter.c
    local owed = elapsed < ceil(cost / counter.b) and cost - elapsed * counter.b or 0
    counter.used = used - min(owed, used)
  elseif kind == SLIDING then
    local slice = floor((told_end - counter.b) / counter.c)
    for first = 1, #counter.entries, ENTRY do
      local at, entry_cost = unpack_packed('<dd', counter.entries, first)
      if floor(at / counter.c) == slice then
        cost = min(cost, entry_cost)
        counter.used = used - cost
        counter.entries = string.sub(counter.entries, 1, first - 1)
          .. pack('<dd', at, entry_cost - cost)
          .. string.sub(counter.entries, first + ENTRY)
        break
      end
    end
  else
    for number = 1, cost do
      counter.used = counter.used - redis.call('ZREM', counter.key, ARGV[1] .. ':' .. number)
    end
  end
  return counter.used < used
end

local charges = floor((#ARGV - 1) / 2)
local receipt = KEYS[charges + 1]
if receipt then
  if redis.call('GETRANGE', receipt, 0, 0) ~= '0' then
    return 0
  end
  redis.call('SETRANGE', receipt, 0, '1')
end

for charge = 1, charges do
  local key = KEYS[charge]
  local counter = open(key, ARGV[2 * charge], redis.call('MGET', key)[1])
  local cost, charged_at, reset_after = unpack_packed('<ddd', ARGV[2 * charge + 1])
  if subtract(counter, cost, charged_at, charged_at + reset_after) then
    keep(counter)
  end
end
return 1
