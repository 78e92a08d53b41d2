-- Starts busted in the interpreter that runs this file, however busted was installed.
io.stdout:setvbuf "line" -- a leak is reported at the very end and takes with it what is still buffered
require "busted.runner" { standalone = false }
