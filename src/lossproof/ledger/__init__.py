"""Where every digit of a loss comes from: for one batch (`explain`) and during a training (`Ledger`)."""
