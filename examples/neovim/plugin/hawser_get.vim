" :HawserGet URL - see lua/hawser_get.lua
command! -nargs=1 HawserGet lua require("hawser_get").get(<q-args>)
