-- additive
ALTER TABLE "requests" ADD COLUMN reserved_cost REAL;
