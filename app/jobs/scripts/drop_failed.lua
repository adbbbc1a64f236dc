-- Drops what Redis keeps of failed jobs, once it is on record elsewhere.
--
-- KEYS: failed.  ARGV: id and time of failure (ms) for each job.
-- Returns how many. One that failed again since, under the same id, is another job and stays.
local dropped = 0
for n = 1, #ARGV, 2 do
  local id = ARGV[n]
  if redis.call('ZSCORE', KEYS[1], id) == ARGV[n + 1] then
    redis.call('DEL', 'arq:job:' .. id, 'arq:result:' .. id)
    redis.call('ZREM', KEYS[1], id)
    dropped = dropped + 1
  end
end
return dropped
