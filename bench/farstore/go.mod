module farstore

go 1.22
