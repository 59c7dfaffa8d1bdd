"""What commands print: text that is safe in any terminal, tables, sagas, and how a command fails."""
