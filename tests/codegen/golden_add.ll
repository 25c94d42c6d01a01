define i32 @kernel(ptr %launch, i64 %begin, i64 %end) nounwind "prefer-vector-width"="256" {
entry:
  %v3 = getelementptr i8, ptr %launch, i64 8
  %v4 = load ptr, ptr %v3
  %v5 = getelementptr i64, ptr %v4, i64 0
  %v6 = load i64, ptr %v5
  %v19 = getelementptr i8, ptr %launch, i64 0
  %v20 = load ptr, ptr %v19
  %v21 = getelementptr ptr, ptr %v20, i64 0
  %v22 = load ptr, ptr %v21
  %v25 = getelementptr ptr, ptr %v20, i64 1
  %v26 = load ptr, ptr %v25
  %v30 = getelementptr ptr, ptr %v20, i64 2
  %v31 = load ptr, ptr %v30
  br label %start
start:
  %v1 = mul i64 %begin, 1024
  %v2 = mul i64 %end, 1024
  %v7 = call i64 @llvm.smin.i64(i64 %v2, i64 %v6)
  %v8 = icmp slt i64 %v1, %v7
  br i1 %v8, label %then9, label %done10
then9:
  br label %walk11
walk11:
  %v12 = sub i64 %v7, %v1
  %v13 = and i64 %v12, -32
  %v14 = add i64 %v1, %v13
  %v18 = icmp slt i64 %v1, %v14
  br i1 %v18, label %loop15, label %done16
loop15:
  %i17 = phi i64 [%v1, %walk11], [%v33, %loop15]
  %v23 = getelementptr float, ptr %v22, i64 %i17
  %v24 = load <32 x float>, ptr %v23, align 4
  %v27 = getelementptr float, ptr %v26, i64 %i17
  %v28 = load <32 x float>, ptr %v27, align 4
  %v29.1 = fadd <32 x float> %v24, %v28
  %v32 = getelementptr float, ptr %v31, i64 %i17
  store <32 x float> %v29.1, ptr %v32, align 4
  %v33 = add i64 %i17, 32
  %v34 = icmp slt i64 %v33, %v14
  br i1 %v34, label %loop15, label %done16
done16:
  %v35 = icmp slt i64 %v14, %v7
  br i1 %v35, label %then36, label %done37
then36:
  %v38 = sub i64 %v7, %v14
  %v39 = call i64 @llvm.smin.i64(i64 %v38, i64 32)
  %v40 = trunc i64 %v39 to i32
  %v41 = insertelement <32 x i32> poison, i32 %v40, i64 0
  %v42 = shufflevector <32 x i32> %v41, <32 x i32> poison, <32 x i32> zeroinitializer
  %v43 = icmp ult <32 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15, i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>, %v42
  %v44 = getelementptr float, ptr %v22, i64 %v14
  %v45 = call <32 x float> @llvm.masked.load.v32f32.p0(ptr %v44, i32 4, <32 x i1> %v43, <32 x float> zeroinitializer)
  %v46 = getelementptr float, ptr %v26, i64 %v14
  %v47 = call <32 x float> @llvm.masked.load.v32f32.p0(ptr %v46, i32 4, <32 x i1> %v43, <32 x float> zeroinitializer)
  %v48.1 = fadd <32 x float> %v45, %v47
  %v49 = getelementptr float, ptr %v31, i64 %v14
  call void @llvm.masked.store.v32f32.p0(<32 x float> %v48.1, ptr %v49, i32 4, <32 x i1> %v43)
  br label %done37
done37:
  br label %done10
done10:
  ret i32 0
}
declare i64 @llvm.smin.i64(i64, i64)
declare <32 x float> @llvm.masked.load.v32f32.p0(ptr, i32, <32 x i1>, <32 x float>)
declare void @llvm.masked.store.v32f32.p0(<32 x float>, ptr, i32, <32 x i1>)
