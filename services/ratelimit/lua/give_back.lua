-- Takes back what one request was charged, as far as it still counts. It comes after counters.lua.
--
-- KEYS[i]  The counter of charge i, and after the counters the receipt, if there is one.
-- ARGV[1]  What took slots.
-- ARGV[7i-5 .. 7i+1]  Of charge i: kind, cost, when it was charged, reset_after as it was told then, and the kind's
--          parameters a, b, c.
--
-- Result: 1 if it was given back; 0 where the receipt is gone, or was given back before.

local STRIDE = 7

-- Whether anything of the cost is left to take back.
local function subtract(charge)
  local kind, used, cost = charge.kind, charge.used, charge.cost
  if kind == 'window' then
    if charge.at == charge.told_end and used > 0 then
      charge.used = max(used - cost, 0)
    end
  elseif kind == 'bucket' then
    -- What has been refilled since the charge is back already.
    local elapsed = max(now - charge.charged_at, 0)
    cost = cost * charge.c
    local owed = elapsed < ceil(cost / charge.b) and cost - elapsed * charge.b or 0
    charge.used = used - math.min(owed, used)
  elseif kind == 'sliding' then
    local slice = floor((charge.told_end - charge.b) / charge.c)
    for first = 1, #charge.entries, ENTRY do
      local at, entry_cost = doubles('<dd', charge.entries, first)
      if floor(at / charge.c) == slice then
        cost = math.min(cost, entry_cost)
        charge.used = used - cost
        charge.entries = string.sub(charge.entries, 1, first - 1)
          .. pack('<dd', at, entry_cost - cost)
          .. string.sub(charge.entries, first + ENTRY)
        break
      end
    end
  else
    for number = 1, cost do
      charge.used = charge.used - redis.call('ZREM', charge.key, ARGV[1] .. ':' .. number)
    end
  end
  return charge.used < used
end

local counters = floor((#ARGV - 1) / STRIDE)
local receipt = KEYS[counters + 1]
if receipt then
  if redis.call('GETRANGE', receipt, 0, 0) ~= '0' then
    return 0
  end
  redis.call('SETRANGE', receipt, 0, '1')
end

local values = counters > 0 and redis.call('MGET', unpack(KEYS, 1, counters))
for index = 1, counters do
  local first = STRIDE * index - 5
  local charge = {
    key = KEYS[index],
    kind = ARGV[first],
    cost = tonumber(ARGV[first + 1]),
    charged_at = tonumber(ARGV[first + 2]),
    told_end = tonumber(ARGV[first + 2]) + tonumber(ARGV[first + 3]),
    a = tonumber(ARGV[first + 4]),
    b = tonumber(ARGV[first + 5]),
    c = tonumber(ARGV[first + 6]),
  }
  open(charge, values[index], now)
  if subtract(charge) then
    keep(charge, now)
  end
end
return 1
